"""NIfTI volumes: slices as a radiologist hangs them, and a named error for all else."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.scans import errors
from shared.scans.content import ScanLimits, scan_format
from shared.scans.nifti import SliceChoice, read_nifti
from tests.support.scan_files import nifti_file

LIMITS = ScanLimits(max_bytes=10_000_000, max_pixels=100_000, min_side_px=16)
MIDDLE = SliceChoice()


def read(data, choice=MIDDLE, limits=LIMITS):
    return list(read_nifti(data, limits, choice))


def codes(scans):
    return {warning.code for scan in scans for warning in scan.warnings}


def labelled_head():
    """(20, 24, 28) int16 towards right, front, head: each voxel is brighter the further right, front and up it lies."""
    x, y, z = np.mgrid[0:20, 0:24, 0:28]
    return (x + 2 * y + 4 * z).astype(np.int16)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_both_versions_packed_or_not(packed, second):
    data = nifti_file(labelled_head(), packed=packed, second=second)
    assert scan_format(data[:2048]) == "NIFTI"
    (scan,) = read(data)
    assert (scan.format, scan.mode, scan.depth_bits, scan.label) == ("NIFTI", "int16", 16, "axial-014")
    assert scan.pixels_u8.shape == (24, 20)
    assert scan.warnings == ()


@pytest.mark.parametrize(("axis", "shape"), [("axial", (24, 20)), ("coronal", (28, 20)), ("sagittal", (28, 24))])
def test_display_is_radiological(axis, shape):
    """Brightness grows towards the patient's right, front and head: to the left and to the top of each picture."""
    (scan,) = read(nifti_file(labelled_head()), SliceChoice(axis))
    levels = scan.pixels_u8.astype(int)
    assert levels.shape == shape
    assert scan.plane == axis
    assert (np.diff(levels, axis=0) <= 0).all()
    assert (np.diff(levels, axis=1) <= 0).all()
    assert levels[0, 0] > levels[-1, 0]
    assert levels[0, 0] > levels[0, -1]


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_pictures_do_not_depend_on_how_the_volume_is_stored(axis, order, signs):
    head = labelled_head()
    expected = read(nifti_file(head), SliceChoice(axis, "5"))[0]
    stored = head.transpose(order)
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for column, world in enumerate(order):
        affine[world, column] = signs[column]
        if signs[column] < 0:
            stored = np.flip(stored, column)
            affine[world, 3] = stored.shape[column] - 1
    found = read(nifti_file(np.ascontiguousarray(stored), affine), SliceChoice(axis, "5"))[0]
    np.testing.assert_array_equal(found.pixels_u8, expected.pixels_u8)
    assert found.plane == axis


def test_slices_share_the_window_of_the_volume():
    scans = read(nifti_file(labelled_head()), SliceChoice("axial", "all"))
    means = [scan.pixels_u8.mean() for scan in scans]
    assert means == sorted(means)
    assert len({json.dumps(scan.parameters["window"]) for scan in scans}) == 1
    assert [scan.label for scan in scans] == [f"axial-{index:03d}" for index in range(28)]


def test_all_leaves_empty_slices_out_and_says_so():
    head = labelled_head()
    head[..., :5] = 0
    scans = read(nifti_file(head), SliceChoice("axial", "all"))
    assert [scan.parameters["slice"] for scan in scans] == list(range(5, 28))
    (warning,) = scans[0].warnings
    assert warning.code == "slices_left_out"
    assert "5 of 28" in warning.detail


def test_slope_and_intercept_are_applied_and_cancel_in_the_picture():
    plain = read(nifti_file(labelled_head()))[0]
    scaled = read(nifti_file(labelled_head(), scl_slope=-0.5, scl_inter=100))[0]
    assert scaled.parameters["rescale"] == {"slope": -0.5, "intercept": 100.0}
    assert np.abs(scaled.pixels_u8.astype(int) - (255 - plain.pixels_u8.astype(int))).max() <= 1


@pytest.mark.parametrize("shape", [(32, 40), (32, 40, 1), (32, 40, 1, 1)])
def test_a_file_of_one_slice_needs_no_choice(shape):
    levels = np.random.default_rng(0).integers(0, 999, shape).astype(np.int16)
    (scan,) = read(nifti_file(levels), None)
    assert scan.pixels_u8.shape == (40, 32)
    assert scan.plane == "axial"
    (same,) = read(nifti_file(levels), SliceChoice("sagittal", "all"))
    np.testing.assert_array_equal(same.pixels_u8, scan.pixels_u8)


def test_spacing_belongs_to_the_picture_and_squashed_pixels_are_told():
    affine = np.diag([0.5, 1.0, 5.0, 1.0])
    axial = read(nifti_file(labelled_head(), affine))[0]
    assert (axial.parameters["spacing_mm"], axial.parameters["slice_spacing_mm"]) == ([1.0, 0.5], 5.0)
    coronal = read(nifti_file(labelled_head(), affine), SliceChoice("coronal"))[0]
    assert coronal.parameters["spacing_mm"] == [5.0, 0.5]
    assert codes([coronal]) == {"pixels_are_not_square"}


def test_without_an_orientation_no_plane_is_claimed():
    (scan,) = read(nifti_file(labelled_head(), coded=False))
    assert scan.plane is None
    assert codes([scan]) == {"orientation_is_unknown"}


def test_oblique_volumes_claim_no_plane():
    turn = np.radians(40)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    data = nifti_file(labelled_head(), affine)
    assert read(data, SliceChoice("axial"))[0].plane == "axial"
    assert read(data, SliceChoice("coronal"))[0].plane is None


def test_texts_are_dropped_and_named():
    (scan,) = read(nifti_file(labelled_head(), descrip=b"Erika Mustermann", aux_file=b"/home/erika"))
    assert {"descrip", "aux_file"} <= set(scan.parameters["dropped_tags"])
    assert "rika" not in json.dumps(scan.record())


def nan_head(value=np.nan):
    head = labelled_head().astype(np.float32)
    head[3, 4, 5] = value
    return head


def patched(offset, values):
    """A volume whose NIfTI-1 header has other bytes at `offset`."""
    data = bytearray(nifti_file(labelled_head(), packed=False))
    data[offset : offset + values.nbytes] = values.tobytes()
    return bytes(data)


COLOURS = np.zeros((20, 20, 20), [("R", "u1"), ("G", "u1"), ("B", "u1")])
BIG = labelled_head().repeat(10, 0).repeat(10, 1).repeat(4, 2)
BAD = {
    "NaN": (lambda: nifti_file(nan_head()), MIDDLE, errors.ScanNotFinite),
    "infinity": (lambda: nifti_file(nan_head(np.inf)), MIDDLE, errors.ScanNotFinite),
    "4-D": (lambda: nifti_file(np.zeros((20, 20, 20, 3), np.int16)), MIDDLE, errors.NiftiHasVolumes),
    "colour": (lambda: nifti_file(COLOURS), MIDDLE, errors.NiftiTypeUnsupported),
    "complex": (lambda: nifti_file(np.zeros((20, 20, 20), np.complex64)), MIDDLE, errors.NiftiTypeUnsupported),
    "empty": (lambda: nifti_file(np.zeros((20, 20, 20), np.int16)), SliceChoice(slices="all"), errors.ScanIsEmpty),
    "no such slice": (lambda: nifti_file(labelled_head()), SliceChoice(slices="28"), errors.NoSuchSlice),
    "no choice": (lambda: nifti_file(labelled_head()), None, errors.SliceNotChosen),
    "thin": (lambda: nifti_file(labelled_head()[:, :8]), MIDDLE, errors.ScanTooSmall),
    "large slices": (lambda: nifti_file(np.zeros((400, 400, 2), np.uint8)), MIDDLE, errors.ScanTooLarge),
    "more bytes than allowed": (lambda: nifti_file(BIG.astype(np.float64)), MIDDLE, errors.ScanTooLarge),
    "cut": (lambda: nifti_file(labelled_head(), packed=False)[:-10], MIDDLE, errors.ScanTruncated),
    "cut gzip": (lambda: nifti_file(labelled_head())[:-200], MIDDLE, errors.ScanTruncated),
    "wrong checksum": (lambda: nifti_file(labelled_head())[:-8] + bytes(8), MIDDLE, errors.ScanDamaged),
    "half of a pair": (lambda: patched(344, np.frombuffer(b"ni1\0", "u1")), MIDDLE, errors.NiftiHasNoVoxels),
    "no extent": (lambda: patched(40, np.array([3, 0, 24, 28], "<i2")), MIDDLE, errors.ScanDamaged),
    "all in one plane": (lambda: patched(280, np.zeros(4, "<f4")), MIDDLE, errors.ScanDamaged),
    "voxels in the header": (lambda: patched(108, np.array([8], "<f4")), MIDDLE, errors.ScanDamaged),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(name):
    make, choice, error = BAD[name]
    with pytest.raises(error) as caught:
        read(make(), choice)
    assert type(caught.value) is error
    assert caught.value.detail.endswith(".")


def test_a_bomb_is_unpacked_to_the_size_of_its_header_only():
    """A gigabyte of zeros behind a small volume: only the volume is unpacked."""
    data = gzip.compress(nifti_file(labelled_head(), packed=False) + bytes(200_000_000), 1)
    assert len(read(data)) == 1
    assert scan_format(gzip.compress(bytes(10_000_000))[:2048]) is None


SEEDS = [nifti_file(labelled_head()[:, :18, :18], packed=packed) for packed in (True, False)]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    choice=st.sampled_from([None, MIDDLE, SliceChoice("sagittal", "all"), SliceChoice("coronal", "3")]),
)
def test_damaged_files_give_pixels_or_a_named_error(seed, changes, choice):
    data = bytearray(seed)
    for position, value in changes:
        data[position % len(data)] = value
    try:
        scans = read(bytes(data), choice)
    except errors.ScanRefused:
        return
    assert all(scan.pixels_u8.dtype == np.uint8 and scan.pixels_u8.ndim == 2 for scan in scans)
    assert all(json.dumps(scan.record(), allow_nan=False) for scan in scans)
