"""DICOM and NIfTI at the door: gray PNG and safe facts inside, nothing of the patient, and a name for what is odd."""

import hashlib
import io
import sqlite3

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from shared.client import SynthMRI
from shared.scans.content import ScanLimits
from shared.scans.dicom import read_dicom
from tests.gateway.pictures import picture, png_header, zip_of
from tests.gateway.routes.test_image_sets import nothing_is_left, post_zip
from tests.support.scan_files import SECRET, dicom_file, head_phantom, nifti_file

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

VOLUME = np.stack([head_phantom(32) // (1 + z) for z in range(20)] + [np.zeros((32, 32), np.uint16)] * 3, -1)
JPEG_LS = dicom_file(syntax=uid.JPEGLSLossless, PixelData=encapsulate([b"xx"]))
NAN = np.full((20, 20, 20), np.nan, np.float32)


def black() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


GOOD = {
    "Training/glioma/good.png": picture(1),
    "Training/glioma/colour.jpg": picture(2, mode="RGB", image_format="JPEG"),
    "Training/glioma/black.png": black(),
    "Training/notumor/IM001.dcm": dicom_file(),
    "Training/notumor/IM002": dicom_file(BurnedInAnnotation="YES"),
    "Testing/notumor/head.nii.gz": nifti_file(VOLUME),
}

BAD = {
    "Training/glioma/list.csv": (b"patient,age\nErika,51\n", "image_type_unsupported"),
    "Training/glioma/text.png": (b"this is no picture\n", "image_type_unsupported"),
    "Training/glioma/half.jpg": (picture(size=(300, 300), image_format="JPEG")[:5000], "image_truncated"),
    "Training/glioma/huge.png": (png_header(40_000, 40_000), "image_too_many_pixels"),
    "Training/glioma/volume.dcm": (dicom_file(NumberOfFrames=20), "dicom_has_frames"),
    "Training/glioma/cut.dcm": (dicom_file()[:-3000], "scan_truncated"),
    "Training/glioma/packed.dcm": (JPEG_LS, "dicom_compression_unsupported"),
    "Training/glioma/nan.nii.gz": (nifti_file(NAN), "scan_not_finite"),
    "Training/glioma/series.nii": (nifti_file(np.zeros((20, 20, 20, 2), np.int16), packed=False), "nifti_has_volumes"),
}


def test_each_bad_file_has_its_name_and_costs_the_others_nothing(gateway, keys, settings, database, objects):
    files = GOOD | {name: data for name, (data, _) in BAD.items()}
    problem = post_zip(gateway, keys, zip_of(files))
    assert problem.status_code == 422
    assert problem.json()["code"] == "bad_files"
    assert {item["name"]: item["code"] for item in problem.json()["files"]} == {n: code for n, (_, code) in BAD.items()}
    nothing_is_left(settings, database, objects)

    made = post_zip(gateway, keys, zip_of(files), skip_invalid="true").json()
    assert (made["n_images"], made["n_skipped"]) == (len(GOOD), len(BAD))
    manifest = gateway.get(made["url"], headers=keys["alice"]).json()["manifest"]
    assert {item["name"]: item["code"] for item in manifest["skipped"]} == {n: code for n, (_, code) in BAD.items()}
    assert all(len(item["detail"]) > 20 for item in manifest["skipped"])
    names = {item["name"] for item in gateway.get(f"{made['url']}/images", headers=keys["alice"]).json()["items"]}
    assert names == {
        "Training/glioma/good.png",
        "Training/glioma/colour.jpg",
        "Training/glioma/black.png",
        "Training/notumor/IM001.dcm.png",
        "Training/notumor/IM002.png",
        "Testing/notumor/head.nii.gz.axial-011.png",
    }


def test_text_burned_in_is_told_by_name(upload, gateway, keys):
    made = upload(GOOD)
    (warning,) = made["warnings"]
    assert (warning["code"], warning["n_images"], warning["images"]) == (
        "text_burned_in", 1, ["Training/notumor/IM002.png"],
    )  # fmt: skip
    assert warning["detail"].startswith("'Training/notumor/IM002.png' says that text is burned into its pixels")
    assert gateway.get(made["url"], headers=keys["alice"]).json()["manifest"]["warnings"] == made["warnings"]
    assert upload({"glioma/plain.png": picture()})["warnings"] == []


def test_nothing_of_the_patient_is_stored(upload, gateway, keys, objects, settings):
    nifti = nifti_file(VOLUME, descrip=b"Mustermann Erika")
    made = upload({"glioma/a.dcm": dicom_file(), "glioma/b": dicom_file(preamble=False), "glioma/c.nii.gz": nifti})
    stored = b"".join(objects.get(key) for key in objects.list())
    rows = "".join(sqlite3.connect(settings.data_dir / "synthmri.db").iterdump())
    for secret in SECRET.split("^"):
        assert secret.encode() not in stored
        assert secret not in rows
    items = gateway.get(f"{made['url']}/images", headers=keys["alice"]).json()["items"]
    dropped = {item["name"]: item["parameters"]["dropped_tags"] for item in items}
    assert "PatientName" in dropped["glioma/a.dcm.png"]
    assert "PatientName" in dropped["glioma/b.png"]
    assert "descrip" in dropped["glioma/c.nii.gz.axial-011.png"]


def test_the_stored_png_is_the_windowed_slice(upload, gateway, keys):
    data = dicom_file(WindowCenter=2000, WindowWidth=3000)
    made = upload({"Training/glioma/IM001.dcm": data})
    (item,) = gateway.get(f"{made['url']}/images", headers=keys["alice"]).json()["items"]
    png = gateway.get(f"{made['url']}/images/{item['name']}", headers=keys["alice"]).content
    with Image.open(io.BytesIO(png)) as image:
        np.testing.assert_array_equal(np.asarray(image), read_dicom(data, ScanLimits(10**7, 10**7, 16)).pixels_u8)
    assert (item["plane"], item["width"], item["height"]) == ("axial", 64, 64)
    assert item["parameters"]["format"] == "DICOM"
    assert item["parameters"]["window"] == {"centre": 2000.0, "width": 3000.0, "function": "LINEAR", "source": "tag"}


@pytest.mark.parametrize(("axis", "others"), [("axial", (0, 1)), ("coronal", (0, 2)), ("sagittal", (1, 2))])
def test_all_slices_of_a_volume(upload, gateway, keys, axis, others):
    """Empty slices at the rim of the phantom are left out, which is told."""
    made = upload({"Testing/glioma/head.nii": nifti_file(VOLUME, packed=False)}, axis=axis, slices="all")
    assert made["n_images"] == VOLUME.any(axis=others).sum() < VOLUME.any(axis=others).size
    assert [warning["code"] for warning in made["warnings"]] == ["slices_left_out"]
    items = gateway.get(f"{made['url']}/images?limit=100", headers=keys["alice"]).json()["items"]
    assert {item["plane"] for item in items} == {axis}
    assert all(item["name"].startswith(f"Testing/glioma/head.nii.{axis}-") for item in items)


def test_slices_of_one_volume_are_of_one_patient(upload, gateway, keys, objects):
    """Files of a series in both splits, a second series, a single file, two without a series; a volume's slices."""
    first, second = uid.generate_uid(), uid.generate_uid()
    files = {
        "Training/glioma/1.dcm": dicom_file(head_phantom(top=900), SeriesInstanceUID=first),
        "Training/glioma/2.dcm": dicom_file(head_phantom(top=800), SeriesInstanceUID=second),
        "Training/glioma/3.dcm": dicom_file(head_phantom(top=700)),
        "Training/glioma/4.dcm": dicom_file(head_phantom(top=600), SeriesInstanceUID=None),
        "Training/glioma/5.dcm": dicom_file(head_phantom(top=500), SeriesInstanceUID=None),
        "Testing/notumor/6.dcm": dicom_file(head_phantom(top=400), SeriesInstanceUID=first),
        "Testing/glioma/7.dcm": dicom_file(head_phantom(top=300), SeriesInstanceUID=second),
        "Testing/glioma/8.nii.gz": nifti_file(VOLUME[..., 8:10].repeat(8, axis=-1)),
        "Testing/glioma/9.png": picture(),
    }
    made = upload(files, slices="all")
    listed = f"{made['url']}/images?limit=100"

    def groups():
        items = gateway.get(listed, headers=keys["alice"]).json()["items"]
        return {item["name"]: item["group"] for item in items if "group" in item}

    of_nifti = {f"Testing/glioma/8.nii.gz.axial-{k:03d}.png": "Testing/glioma/8.nii.gz" for k in range(16)}
    of_dicom = {
        "Testing/notumor/6.dcm.png": "series 2",
        "Testing/glioma/7.dcm.png": "series 1",
        "Training/glioma/1.dcm.png": "series 2",
        "Training/glioma/2.dcm.png": "series 1",
    }
    assert groups() == {**of_nifti, **of_dicom}
    shown = gateway.put(
        f"{made['url']}/images/Training/glioma/1.dcm.png", json={"group": "p1"}, headers=keys["alice"]
    ).json()
    assert shown["group"] == "p1"
    named = {"Testing/notumor/6.dcm.png": "p1", "Training/glioma/1.dcm.png": "p1"}
    assert groups() == {**of_nifti, **of_dicom, **named}
    back = gateway.put(
        f"{made['url']}/images/Training/glioma/1.dcm.png", json={"group": None}, headers=keys["alice"]
    ).json()
    assert back["group"] == "series 2"
    stored = b"".join(objects.get(key) for key in objects.list())
    for identifier in (first, second):
        assert identifier.encode() not in stored
        assert hashlib.sha256(identifier.encode()).hexdigest().encode() not in stored


def test_one_identifier_in_all_files_makes_no_series(upload, gateway, keys):
    """Of slices or of series; while a slice that was sent twice, or exported in two ways, leaves its series whole."""

    def groups(files):
        items = gateway.get(f"{upload(files)['url']}/images", headers=keys["alice"]).json()["items"]
        return [item.get("group") for item in items]

    same = {"SeriesInstanceUID": "1.2.3", "SOPInstanceUID": "1.2.3.4"}
    slices = [dicom_file(head_phantom(top=900 - 100 * k), SeriesInstanceUID="1.2.3") for k in range(3)]
    assert (
        groups({f"glioma/{k}.dcm": dicom_file(head_phantom(top=900 - 100 * k), **same) for k in range(3)}) == [None] * 3
    )
    assert groups({"glioma/0.dcm": slices[0], "pituitary/1.dcm": slices[1], "glioma/2.dcm": slices[2]}) == [None] * 3
    assert groups({"glioma/a.dcm": slices[0], "glioma/b.dcm": slices[1], "glioma/c.dcm": slices[0]}) == ["series 1"] * 3
    twice = [dicom_file(head_phantom(top=top), **same) for top in (900, 500)]
    files = {"glioma/a.dcm": slices[0], "glioma/b.dcm": twice[0], "glioma/c.dcm": twice[1]}
    assert groups(files) == ["series 1"] * 3


def test_one_slice_by_its_index(upload, gateway, keys):
    made = upload({"glioma/head.nii.gz": nifti_file(VOLUME)}, slices="3")
    (item,) = gateway.get(f"{made['url']}/images", headers=keys["alice"]).json()["items"]
    assert (item["name"], item["parameters"]["slice"]) == ("glioma/head.nii.gz.axial-003.png", 3)
    problem = post_zip(gateway, keys, zip_of({"glioma/head.nii.gz": nifti_file(VOLUME)}), slices="23")
    assert (problem.status_code, problem.json()["code"]) == (422, "no_such_slice")


@pytest.mark.parametrize("params", [{"slices": "-1"}, {"slices": "first"}, {"axis": "oblique"}])
def test_choices_that_are_none(gateway, keys, params):
    problem = post_zip(gateway, keys, zip_of({"glioma/a.png": picture()}), **params)
    assert (problem.status_code, problem.json()["code"]) == (422, "invalid_request")


def test_names_of_pictures_must_not_be_those_of_other_files(gateway, keys, settings, database, objects):
    files = {"glioma/a.dcm": dicom_file(), "glioma/A.dcm.png": picture()}
    problem = post_zip(gateway, keys, zip_of(files))
    assert (problem.status_code, problem.json()["code"]) == (422, "names_collide")
    nothing_is_left(settings, database, objects)


def test_the_same_key_with_other_slices_is_another_request(gateway, keys):
    files = zip_of({"glioma/head.nii.gz": nifti_file(VOLUME), "glioma/b.dcm": dicom_file()})
    header = {"Idempotency-Key": "k1"}
    first = post_zip(gateway, keys, files, headers=header)
    assert post_zip(gateway, keys, files, headers=header).json()["id"] == first.json()["id"]
    other = post_zip(gateway, keys, files, headers=header, slices="all")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_slices_count_against_the_limit_of_images(gateway, keys, settings, database, objects, monkeypatch):
    monkeypatch.setattr(settings, "upload_max_entries", 10)
    problem = post_zip(gateway, keys, zip_of({"glioma/head.nii.gz": nifti_file(VOLUME)}), slices="all")
    assert (problem.status_code, problem.json()["code"]) == (422, "too_many_entries")
    nothing_is_left(settings, database, objects)


def test_a_volume_may_be_larger_than_an_image(gateway, keys, settings, monkeypatch):
    monkeypatch.setattr(settings, "image_max_bytes", 20_000)
    assert post_zip(gateway, keys, zip_of({"glioma/a.nii": nifti_file(VOLUME, packed=False)})).status_code == 201
    problem = post_zip(gateway, keys, zip_of({"glioma/a.tiff": picture(size=(200, 200), image_format="TIFF")}))
    assert problem.json()["code"] == "image_file_too_large"


def test_the_client_asks_for_slices(gateway, keys, tmp_path):
    (tmp_path / "scans" / "glioma").mkdir(parents=True)
    (tmp_path / "scans" / "glioma" / "head.nii.gz").write_bytes(nifti_file(VOLUME))
    key = keys["alice"]["Authorization"].removeprefix("Bearer ")
    with SynthMRI(str(gateway.base_url), key) as client:
        made = client.upload(tmp_path / "scans", axis="coronal", slices=9)
        (item,) = client.images(made["id"])
    assert (item["name"], item["plane"]) == ("glioma/head.nii.gz.coronal-009.png", "coronal")
