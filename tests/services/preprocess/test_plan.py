import numpy as np

from services.preprocess.draws import Draw
from services.preprocess.duplicates import find_copies
from services.preprocess.plan import follow_record, make_plan, references_for
from services.preprocess.recipe import Recipe
from services.preprocess.steps import Balance, HistogramMatching, Reduction, Rotation
from tests.services.preprocess.measurements import measurement

IMAGES = [measurement(f"g{k:02}") for k in range(20)] + [measurement(f"n{k}", tumour_class="notumor") for k in range(5)]
IMAGES += [measurement(f"t{k}", split="Testing") for k in range(4)]


def plan_of(recipe, images=IMAGES, excluded=()):
    return make_plan(images, find_copies([image.hashed() for image in images]), recipe, excluded)


def test_every_image_is_kept_or_dropped_once():
    recipe = Recipe(balance=Balance(), rotation=Rotation())
    plan = plan_of(recipe, excluded=["g00"])
    names = [planned.image.name for planned in plan.kept] + [drop.name for drop in plan.drops]
    assert sorted(names) == sorted(image.name for image in IMAGES)


def test_a_plan_can_be_followed_again_from_its_record():
    plan = plan_of(Recipe(balance=Balance(), rotation=Rotation()))
    recorded = {planned.image.name: Draw(**planned.draw.record()) for planned in plan.kept}
    assert follow_record(IMAGES, recorded).kept == plan.kept
    assert {drop.reason for drop in follow_record(IMAGES, recorded).drops} == {"not_selected"}


def test_what_is_drawn_for_an_image_does_not_depend_on_the_others():
    recipe = Recipe(rotation=Rotation(share=1.0))
    draws = {planned.image.name: planned.draw for planned in plan_of(recipe).kept}
    fewer = {planned.image.name: planned.draw for planned in plan_of(recipe, IMAGES[::2]).kept}
    assert all(draws[name] == draw for name, draw in fewer.items())


def test_a_reduction_without_the_studys_stream_draws_by_name():
    recipe = Recipe(reduction=Reduction(least=7, most=7, classes=("glioma",)))
    kept = [planned.image.name for planned in plan_of(recipe).kept]
    assert sum(name.startswith("g") for name in kept) == 7
    assert sum(name.startswith(("n", "t")) for name in kept) == 9


def test_references_come_from_training_images_of_the_class_only():
    histograms = {image.name: np.eye(256, dtype=np.int64)[200] * 10 for image in IMAGES}
    histograms |= {image.name: np.eye(256, dtype=np.int64)[50] * 10 for image in IMAGES if image.name[0] == "g"}
    histograms |= {image.name: np.eye(256, dtype=np.int64)[0] * 10 for image in IMAGES if image.name[0] == "t"}
    recipe = Recipe(histogram_matching=HistogramMatching())
    references = references_for(plan_of(recipe), histograms, recipe)
    assert references.keys() == {"glioma", "notumor", "pooled"}
    assert (references["glioma"][49], references["glioma"][50]) == (0.0, 1.0)
    assert (references["notumor"][199], references["notumor"][200]) == (0.0, 1.0)
    assert references["pooled"][50] == 0.8
    assert references_for(plan_of(Recipe()), histograms, Recipe()) is None
