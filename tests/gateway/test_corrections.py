"""Corrections as a spreadsheet writes them."""

import pytest
from fastapi.exceptions import RequestValidationError

from gateway.corrections import (
    Corrections,
    CsvInvalid,
    ImageNamesAmbiguous,
    ImageNamesUnknown,
    corrections_by_name,
    read_csv,
    read_json,
)

NAMES = ["Training/glioma/Tr-gl_1.jpg", "Training/glioma/Tr-gl_2.jpg", "Testing/glioma/Tr-gl_2.jpg", "a,b.png"]


def changes(text: str | bytes) -> dict[str, dict[str, str | None]]:
    data = text if isinstance(text, bytes) else text.encode()
    return corrections_by_name(read_csv(data, NAMES), NAMES)


def test_names_planes_and_groups():
    assert changes('name,plane,group\nTraining/glioma/Tr-gl_1.jpg,axial,p1\n"a,b.png",,p2\n') == {
        NAMES[0]: {"plane": "axial", "group": "p1"},
        "a,b.png": {"group": "p2"},  # an empty cell says nothing about the plane
    }


def test_file_stems_a_class_column_a_byte_order_mark_and_windows_lines():
    text = "image_id,class,plane\r\nTr-gl_1,glioma, Coronal \r\n\r\n"
    assert changes(b"\xef\xbb\xbf" + text.encode()) == {NAMES[0]: {"plane": "coronal"}}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", CsvInvalid, "header"),
        ("name;plane\na;axial\n", CsvInvalid, "commas"),
        ("name,plane,plane\n", CsvInvalid, "header"),
        ("name,plain\n", CsvInvalid, "plain"),
        ("plane\naxial\n", CsvInvalid, "image_id"),
        ("name,class\na,glioma\n", CsvInvalid, "group"),
        ("name,plane\na,axial,x\n", CsvInvalid, "Line 2 has more cells"),
        ("name,plane\na,axial\n,axial\n", CsvInvalid, "Line 3, name: Field required"),
        ("name,plane\na,oblique\n", CsvInvalid, "Line 2, plane.*'axial', 'coronal' or 'sagittal'"),
        ("name,group\na,p\x071\n", CsvInvalid, "Line 2, group.*control"),
        ('name,plane\n"a,axial\n', CsvInvalid, "cannot be read"),
        (b"name,plane\n\xff\xfe,axial\n", CsvInvalid, "UTF-8"),
        ("image_id,plane\nTr-gl_2,axial\n", ImageNamesAmbiguous, "Tr-gl_2"),
        ("name,plane\na.png,axial\nb.png,axial\na.png,coronal\n", ImageNamesUnknown, "'a.png', 'b.png'"),
        ("image_id,plane\nTr-gl_9,axial\n", ImageNamesUnknown, "'Tr-gl_9'"),
        ('name,plane\n"a,b.png",axial\n"a,b.png",axial\n', ImageNamesAmbiguous, "comes twice"),
    ],
)
def test_what_is_wrong_is_said(text, error, words):
    with pytest.raises(error, match=words):
        changes(text)


def test_the_first_twenty_unknown_names_are_listed():
    with pytest.raises(ImageNamesUnknown, match="and 5 more") as caught:
        changes("name,plane\n" + "".join(f"{k}.png,axial\n" for k in range(25)))
    assert caught.value.extra["names"] == [f"{k}.png" for k in range(20)]


def test_null_takes_back_and_a_missing_member_says_nothing():
    body = read_json(Corrections, b'{"items": [{"name": "a,b.png", "plane": null}]}')
    assert corrections_by_name(body.items, NAMES) == {"a,b.png": {"plane": None}}


def test_wrong_json_names_the_first_fields_only():
    wrong = b'{"items": [' + b",".join([b'{"name": "a", "plane": "x"}'] * 50) + b"]}"
    for data, n_errors in ((wrong, 20), (b"{", 1), (b"\xff", 1), (b"", 1), (b'{"items": [], "x": 1}', 1)):
        with pytest.raises(RequestValidationError) as caught:
            read_json(Corrections, data)
        errors = caught.value.errors()
        assert len(errors) == n_errors
        assert errors[0]["loc"][0] == "body"
        assert "input" not in errors[0]
