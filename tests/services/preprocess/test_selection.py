import pytest

from services.preprocess.duplicates import find_copies, find_leaks
from services.preprocess.near_duplicates import NearPair
from services.preprocess.recipe import Recipe
from services.preprocess.selection import LabelConflict, Selection, balance_classes, pairs_that_count
from services.preprocess.steps import Balance, SizeLimits
from tests.services.preprocess.measurements import measurement

IMAGES = [
    measurement("a", pixel_hash="1"),
    measurement("b", pixel_hash="1"),
    measurement("c", size=(64, 60)),
    measurement("d", tumour_class="notumor", size=(64, 60)),
    measurement("e", split="Testing", pixel_hash="1"),
]


def select(images, recipe, pairs=(), excluded=()):
    counting = pairs_that_count(pairs, recipe.near_duplicates)
    selection = Selection(images, find_copies([image.hashed() for image in images], counting), recipe)
    selection.apply_rules(excluded)
    return selection


def reasons(recipe, images=IMAGES, pairs=(), excluded=()):
    return {drop.name: drop.reason for drop in select(images, recipe, pairs, excluded).drops}


def test_study_drops_duplicates_within_a_split_and_what_is_not_square():
    assert reasons(Recipe.parse("study")) == {"b": "duplicate", "c": "not_square"}


def test_rigorous_sets_leaks_aside_and_keeps_every_shape():
    assert reasons(Recipe.parse("rigorous")) == {"b": "duplicate", "e": "in_training"}


def test_the_training_side_of_a_leak_can_go_instead():
    assert reasons(Recipe(leaks="training")) == {"a": "in_testing", "b": "duplicate"}


def test_nothing_is_dropped_when_nothing_is_asked():
    assert reasons(Recipe(duplicates="none", size_rule="none")) == {}


def test_a_drop_says_what_it_repeats():
    drops = {drop.name: drop.detail for drop in select(IMAGES, Recipe.parse("rigorous")).drops}
    assert "a" in drops["b"]


def test_of_near_duplicates_the_largest_that_fits_stays():
    images = [measurement("small"), measurement("large", size=(512, 512)), measurement("wide", size=(900, 512))]
    pairs = [NearPair(0, 1, 0.999, "none"), NearPair(1, 2, 0.99, "left-right")]
    assert reasons(Recipe(), images, pairs) == {"small": "near_duplicate", "large": "near_duplicate"}
    square = Recipe(size_rule="study_square")
    assert reasons(square, images, pairs) == {"small": "near_duplicate", "wide": "near_duplicate"}


def test_no_leak_is_left_after_rigorous():
    images = [measurement(str(k), split=("Training", "Testing")[k % 2]) for k in range(12)]
    pairs = [NearPair(k, k + 3, 0.99, "none") for k in range(0, 9, 2)]
    for side in ("testing", "training"):
        selection = select(images, Recipe(leaks=side), pairs)
        copies = find_copies([image.hashed() for image in images], pairs)
        assert find_leaks(copies, {image.name for image in selection.kept}) == []


CONFLICT = [
    measurement("g", pixel_hash="1"),
    measurement("n", tumour_class="notumor", pixel_hash="1"),
    measurement("x"),
]


def test_equal_images_with_two_classes_must_be_settled():
    with pytest.raises(LabelConflict, match=r"g = n.*relabel"):
        select(CONFLICT, Recipe())
    assert reasons(Recipe(), CONFLICT, excluded=["n"]) == {"n": "excluded"}
    assert reasons(Recipe(label_conflicts="set_aside"), CONFLICT) == {"g": "label_conflict", "n": "label_conflict"}
    assert reasons(Recipe(label_conflicts="keep"), CONFLICT) == {"n": "duplicate"}


def test_near_duplicates_with_two_classes_are_set_aside():
    images = [measurement("g"), measurement("n", tumour_class="notumor"), measurement("x")]
    pairs = [NearPair(0, 1, 0.999, "left-right")]
    assert reasons(Recipe(), images, pairs) == {"g": "label_conflict", "n": "label_conflict"}


def test_no_group_crosses_the_splits():
    images = [
        measurement("a", group="p1"),
        measurement("b", split="Testing", group="p1"),
        measurement("c", split="Testing", group="p2"),
        measurement("d", split="Testing"),
    ]
    assert reasons(Recipe(), images) == {"b": "group_in_training"}
    assert reasons(Recipe(groups="keep"), images) == {}


def test_a_volume_stays_whole_where_a_copy_of_it_goes():
    sizes = {"a": (64, 64), "b": (512, 512)}
    images = [measurement(f"{volume}{k}", size=sizes[volume], volume=volume) for volume in "ab" for k in range(4)]
    chained = [NearPair(k, 4 + other, 0.99, "none") for k in range(4) for other in range(4) if abs(k - other) < 2]
    assert reasons(Recipe(), images, chained) == {f"a{k}": "near_duplicate" for k in range(4)}
    alone = [*images[:4], measurement("c", pixel_hash="a1"), measurement("t", split="Testing", pixel_hash="a2")]
    assert reasons(Recipe(), alone) == {"c": "duplicate", "t": "in_training"}
    twice = [*images[:4], measurement("again", pixel_hash="a1", volume="a")]
    assert reasons(Recipe(), twice) == {"again": "duplicate"}


@pytest.mark.parametrize("name", ["A", "z"])
def test_a_loose_copy_of_a_slice_goes_and_the_volume_stays(name):
    """Whether it is listed before the volume or after it, and although it is larger."""
    volume = [measurement(f"a{k}", volume="a") for k in range(4)]
    images = sorted([*volume, measurement(name, size=(512, 512))], key=lambda image: image.name)
    at = {image.name: k for k, image in enumerate(images)}
    pairs = [NearPair(*sorted((at[name], at[f"a{k}"])), 0.99, "none") for k in range(3)]
    assert reasons(Recipe(), images, pairs) == {name: "near_duplicate"}
    equal = sorted([*volume, measurement(name, pixel_hash="a1")], key=lambda image: image.name)
    assert reasons(Recipe(), equal, pairs[:1]) == {name: "duplicate"}
    lone = [measurement("a", volume="a"), measurement("large", size=(512, 512))]
    assert reasons(Recipe(), lone, [NearPair(0, 1, 0.99, "none")]) == {"a": "near_duplicate"}


def test_a_copy_s_patient_is_that_of_the_whole_volume():
    """Copy x of slice v1, in Training, is p7's, who has y in Testing: with x all of the volume is p7's."""
    volume = [measurement(f"v{k}", group="v", volume="v") for k in range(3)]
    images = [*volume, measurement("x", pixel_hash="v1", group="p7"), measurement("y", split="Testing", group="p7")]
    assert reasons(Recipe(), images) == {"x": "duplicate", "y": "group_in_training"}
    testing = Recipe(leaks="training")
    gone = {f"v{k}": "group_in_testing" for k in range(3)}
    assert reasons(testing, images) == {"x": "duplicate", **gone}


def test_mirrors_that_do_not_count_hide_no_copy():
    images, both = [measurement("a"), measurement("b")], [NearPair(0, 1, 0.995, "left-right", 0.99)]
    upright = Recipe(near_duplicates={"mirrored": False})
    assert reasons(upright, images, both) == {"b": "near_duplicate"}
    assert reasons(upright, images, [NearPair(0, 1, 0.995, "left-right")]) == {}


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("pair", [None, NearPair(0, 1, 0.99, "left-right")], ids=["equal", "near"])
def test_a_copy_that_is_dropped_still_tells_its_patient(order, pair):
    """Of two copies in Training the first listed stays, and only b has the group of c, in Testing."""
    groups = {"a": None, "b": "p1"}
    images = [measurement(name, pixel_hash=name if pair else "1", group=groups[name]) for name in order]
    images.append(measurement("c", split="Testing", group="p1"))
    pairs = [pair] if pair else []
    copy = "near_duplicate" if pair else "duplicate"
    assert reasons(Recipe(), images, pairs) == {order[1]: copy, "c": "group_in_training"}
    assert reasons(Recipe(leaks="training"), images, pairs) == {order[0]: "group_in_testing", order[1]: copy}


def test_a_testing_image_has_the_patient_of_its_copies_too():
    images = [
        measurement("a", group="p1"),
        measurement("b", split="Testing", pixel_hash="1"),
        measurement("c", split="Testing", pixel_hash="1", group="p1"),
    ]
    drops = {drop.name: drop for drop in select(images, Recipe()).drops}
    assert {name: drop.reason for name, drop in drops.items()} == {"b": "group_in_training", "c": "duplicate"}
    assert "p1" in drops["b"].detail


def test_the_patient_of_an_excluded_copy_is_not_forgotten():
    images = [
        measurement("a", pixel_hash="1"),
        measurement("b", pixel_hash="1", group="p1"),
        measurement("c", split="Testing", group="p1"),
    ]
    assert reasons(Recipe(), images, excluded=["b"]) == {"b": "excluded", "c": "group_in_training"}


@pytest.mark.parametrize("recipe", ["rigorous", "study"])
def test_an_image_without_a_split_is_a_copy_of_one_of_training(recipe):
    images = [
        measurement("loose", split=None, pixel_hash="1"),
        measurement("named", pixel_hash="1"),
        measurement("tested", split="Testing"),
    ]
    for listed in (images, images[::-1]):
        assert reasons(Recipe.parse(recipe), listed) == {"loose": "duplicate"}


def test_of_near_copies_the_larger_stays_with_or_without_a_split():
    images = [measurement("small"), measurement("large", split=None, size=(512, 512))]
    assert reasons(Recipe(), images, [NearPair(0, 1, 0.99, "none")]) == {"small": "near_duplicate"}


def test_the_side_of_a_group_is_chosen_like_that_of_a_leak():
    images = [measurement("a", group="p1"), measurement("b", split="Testing", group="p1")]
    assert reasons(Recipe(leaks="training"), images) == {"a": "group_in_testing"}


def test_size_limits_name_what_is_out_of_them():
    images = [measurement("tiny", size=(40, 40)), measurement("long", size=(300, 100)), measurement("fine")]
    limits = Recipe(size_limits=SizeLimits(min_side_px=50, max_aspect=2.0))
    assert reasons(limits, images) == {"tiny": "too_small", "long": "too_elongated"}


def balanced(recipe, images):
    return set(balance_classes(images, recipe, lambda names, n: sorted(names)[:n]))


def test_balance_makes_classes_or_planes_equal_in_training_only():
    images = [measurement(f"g{k}", plane="axial" if k else "coronal") for k in range(4)]
    images += [measurement(f"n{k}", tumour_class="notumor", plane="axial") for k in range(2)]
    images += [measurement(f"t{k}", split="Testing") for k in range(9)]
    assert balanced(Recipe(balance=Balance(over="class")), images) == {"g2", "g3"}
    assert balanced(Recipe(balance=Balance(over="plane")), images) == {"g2", "g3"}
    assert balanced(Recipe(balance=Balance(over="class", to=1)), images) == {"g1", "g2", "g3", "n1"}
    assert balanced(Recipe(), images) == set()
