import numpy as np
import pytest

from services.preprocess.draws import NO_DRAW, Draw, draw_for_image, draw_subset
from services.preprocess.recipe import Recipe
from services.preprocess.steps import Flips, Rotation

NAMES = [f"Training/glioma/{k}.png" for k in range(4000)]
TURNING = Recipe(rotation=Rotation(share=0.4, low_deg=-5, high_deg=5), flips=Flips(horizontal=0.3, vertical=0.1))


def test_the_same_seed_and_name_give_the_same_draw_and_another_seed_others():
    draws = [draw_for_image(name, "Training", TURNING) for name in NAMES[:50]]
    assert draws == [draw_for_image(name, "Training", TURNING) for name in NAMES[:50]]
    assert draws != [draw_for_image(name, "Training", TURNING.model_copy(update={"seed": 11})) for name in NAMES[:50]]


def test_shares_and_range_are_the_recipes():
    """4,000 draws: the standard error of a share is below 0.008, so 0.03 is four of them."""
    draws = [draw_for_image(name, "Training", TURNING) for name in NAMES]
    angles = np.array([draw.rotation_deg for draw in draws])
    assert (angles.min(), angles.max()) == (-5, 5)
    assert np.mean(angles != 0) == pytest.approx(0.4 * 10 / 11, abs=0.03)
    assert np.mean([draw.flip_horizontal for draw in draws]) == pytest.approx(0.3, abs=0.03)
    assert np.mean([draw.flip_vertical for draw in draws]) == pytest.approx(0.1, abs=0.03)


def test_testing_images_are_left_alone_unless_the_step_is_for_them():
    assert all(draw_for_image(name, "Testing", TURNING) == NO_DRAW for name in NAMES[:200])
    assert any(draw_for_image(name, None, TURNING) != NO_DRAW for name in NAMES[:200])


def test_a_draw_reads_back_from_its_record():
    draw = Draw(-3, flip_vertical=True)
    assert Draw(**draw.record()) == draw


def test_a_subset_does_not_depend_on_the_order_of_the_names():
    drawn = draw_subset(NAMES, 100, 10, "balance")
    assert len(drawn) == 100
    assert drawn == draw_subset(NAMES[::-1], 100, 10, "balance")
    assert drawn != draw_subset(NAMES, 100, 10, "matching")
    assert draw_subset(NAMES[:3], 100, 10, "balance") == set(NAMES[:3])
