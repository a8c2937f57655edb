from hypothesis import given
from hypothesis import strategies as st

from services.preprocess.analysis import Measurement
from services.preprocess.recipe import Recipe
from services.preprocess.selection import name_results, select_drops


def measurement(name, split="Training", tumour_class="glioma", size=(64, 64), pixel_hash=None):
    return Measurement(
        name=name,
        split=split,
        tumour_class=tumour_class,
        width=size[0],
        height=size[1],
        format="PNG",
        mode="L",
        depth_bits=8,
        colour_chained=False,
        colour_strict=False,
        sharpness=100.0,
        mean_gray=40.0,
        pixel_hash=pixel_hash or name,
    )


IMAGES = [
    measurement("a", pixel_hash="1"),
    measurement("b", pixel_hash="1"),
    measurement("c", size=(64, 60)),
    measurement("d", tumour_class="notumor", size=(64, 60)),
    measurement("e", split="Testing", pixel_hash="1"),
]


def reasons(recipe):
    return {drop.name: drop.reason for drop in select_drops(IMAGES, recipe)}


def test_study_drops_duplicates_within_a_split_and_what_is_not_square():
    assert reasons(Recipe.parse("study")) == {"b": "duplicate", "c": "not_square"}


def test_rigorous_sets_leaks_aside_and_keeps_every_shape():
    assert reasons(Recipe.parse("rigorous")) == {"b": "duplicate", "e": "in_training"}


def test_nothing_is_dropped_when_nothing_is_asked():
    assert reasons(Recipe(duplicates="none", size_rule="none")) == {}


def test_a_drop_says_what_it_repeats():
    drops = {drop.name: drop.detail for drop in select_drops(IMAGES, Recipe.parse("rigorous"))}
    assert "a" in drops["b"]


def test_names_keep_their_folder_and_get_the_new_ending():
    assert name_results(["Training/glioma/x.1.jpg"], ".png") == {"Training/glioma/x.1.jpg": "Training/glioma/x.1.png"}


def test_names_that_would_meet_stay_apart():
    renamed = name_results(["f/a.jpg", "f/a.bmp", "f/a_jpg.tif"], ".png")
    assert renamed == {"f/a.jpg": "f/a_jpg_.png", "f/a.bmp": "f/a_bmp.png", "f/a_jpg.tif": "f/a_jpg.png"}


@given(st.sets(st.from_regex(r"[ab]_?(jpg)?\.(jpg|bmp|png|JPG)", fullmatch=True)))
def test_new_names_are_always_distinct(names):
    renamed = name_results(sorted(names), ".png")
    assert len(set(renamed.values())) == len(names)
