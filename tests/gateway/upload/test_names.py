import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upload.errors import LayoutInvalid, NamesCollide, UnknownClassFolder
from gateway.upload.names import Place, is_ignored, place_files, split_path
from shared.errors import InvalidInput


def names(paths):
    return [place.name if isinstance(place, Place) else place.code for place in place_files(paths)]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("Training", "glioma", "1.jpg"), "Training/glioma/1.jpg"),
        (("train", "Glioma", "1.jpg"), "Training/glioma/1.jpg"),
        (("TEST", "notumor", "1.jpg"), "Testing/notumor/1.jpg"),
        (("pituitary", "1.jpg"), "pituitary/1.jpg"),
    ],
)
def test_spelling_of_splits_and_classes_is_made_one(path, name):
    assert names([path]) == [name]


def test_one_folder_around_everything_is_looked_through():
    assert names([("data", "Training", "glioma", "1"), ("data", "Testing", "glioma", "1")]) == [
        "Training/glioma/1",
        "Testing/glioma/1",
    ]
    assert names([("data", "glioma", "1"), ("data", "README")]) == ["glioma/1", "layout_invalid"]


def test_a_split_or_class_folder_is_no_wrapper():
    assert names([("Training", "glioma", "1"), ("Training", "glioma", "2")]) == [
        "Training/glioma/1",
        "Training/glioma/2",
    ]


def test_another_split_is_no_wrapper_even_alone():
    (answer,) = place_files([("Validation", "glioma", "1.png")])
    assert isinstance(answer, LayoutInvalid)


def test_wrong_class_folder_names_the_valid_ones():
    (error,) = place_files([("astrocytoma", "1.png")])
    assert isinstance(error, UnknownClassFolder)
    assert error.extra["valid"] == ["glioma", "meningioma", "notumor", "pituitary"]


@pytest.mark.parametrize("path", [("1.png",), ("a", "b", "glioma", "1.png"), ("Validation", "glioma", "1.png")])
def test_other_layouts_are_refused(path):
    (error,) = place_files([path, ("Training", "glioma", "1.png")])[:1]
    assert isinstance(error, LayoutInvalid)


@pytest.mark.parametrize("twin", ["SCAN.PNG", "scan.png"])
def test_names_that_differ_in_case_only_collide(twin):
    with pytest.raises(NamesCollide):
        place_files([("glioma", "scan.png"), ("glioma", twin)])


def test_names_that_differ_in_unicode_form_only_collide():
    forms = [unicodedata.normalize(form, "glioma/caf\u00e9.png") for form in ("NFC", "NFD")]
    with pytest.raises(NamesCollide):
        place_files([split_path(form) for form in forms])


@pytest.mark.parametrize("path", [("__MACOSX", "glioma", "1.png"), ("glioma", ".DS_Store"), ("x", "Thumbs.db")])
def test_files_that_desktops_leave_are_ignored(path):
    assert is_ignored(path)


@given(st.text(max_size=60))
def test_no_name_leads_out_of_its_folder(name):
    try:
        parts = split_path(name)
    except InvalidInput:
        return
    assert parts
    assert all(part not in ("", ".", "..") and "/" not in part and "\\" not in part for part in parts)
    assert all(unicodedata.category(letter)[0] != "C" for part in parts for letter in part)
