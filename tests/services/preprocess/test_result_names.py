from hypothesis import given
from hypothesis import strategies as st

from services.preprocess.result_names import name_results


def test_names_keep_their_folder_and_get_the_new_ending():
    assert name_results(["Training/glioma/x.1.jpg"], ".png") == {"Training/glioma/x.1.jpg": "Training/glioma/x.1.png"}


def test_names_that_would_meet_stay_apart():
    renamed = name_results(["f/a.jpg", "f/a.bmp", "f/a_jpg.tif"], ".png")
    assert renamed == {"f/a.jpg": "f/a_jpg_.png", "f/a.bmp": "f/a_bmp.png", "f/a_jpg.tif": "f/a_jpg.png"}


def test_a_relabelled_image_moves_to_the_folder_of_its_class():
    names = ["Training/glioma/a.jpg", "Training/notumor/a.jpg", "glioma/b.jpg"]
    moved = {"Training/glioma/a.jpg": "notumor", "glioma/b.jpg": "pituitary"}
    renamed = name_results(names, ".png", moved)
    assert renamed["glioma/b.jpg"] == "pituitary/b.png"
    assert renamed["Training/glioma/a.jpg"].startswith("Training/notumor/a_jpg")
    assert len(set(renamed.values())) == 3


@given(st.sets(st.from_regex(r"[ab]_?(jpg)?\.(jpg|bmp|png|JPG)", fullmatch=True)))
def test_new_names_are_always_distinct(names):
    renamed = name_results(sorted(names), ".png")
    assert len(set(renamed.values())) == len(names)
