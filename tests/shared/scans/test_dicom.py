"""DICOM slices: pixels as a viewer shows them, nothing of the patient, and a named error for all else."""

import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_voi_lut
from pydicom.sequence import Sequence

from shared.scans import errors
from shared.scans.content import ScanLimits, scan_format
from shared.scans.dicom import read_dicom
from shared.scans.dicom_tags import plane_of
from tests.support.scan_files import SECRET, dicom_file, head_phantom

LIMITS = ScanLimits(max_bytes=10_000_000, max_pixels=1_000_000, min_side_px=16)
RAMP = np.tile(np.arange(0, 4096, 64, dtype=np.uint16), (64, 1))


def read(data, limits=LIMITS):
    return read_dicom(data, limits)


def codes(scan):
    return {warning.code for warning in scan.warnings}


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_native_syntaxes_with_and_without_preamble(syntax, preamble):
    data = dicom_file(RAMP, syntax=syntax, preamble=preamble, WindowCenter=2048, WindowWidth=4096)
    assert scan_format(data[:2048]) == "DICOM"
    scan = read(data)
    np.testing.assert_array_equal(scan.pixels_u8, np.rint(RAMP / 4095 * 255))
    assert (scan.format, scan.mode, scan.depth_bits, scan.plane) == ("DICOM", "MONOCHROME2", 16, "axial")
    assert scan.warnings == ()


def test_signed_levels_with_slope_and_intercept():
    stored = RAMP.astype(np.int16) - 2048
    scan = read(dicom_file(stored, RescaleSlope=2, RescaleIntercept=4096, WindowCenter=4095.5, WindowWidth=8191))
    np.testing.assert_allclose(scan.pixels_u8, RAMP * 2 / 8190 * 255, atol=0.51)
    assert scan.parameters["rescale"] == {"slope": 2.0, "intercept": 4096.0}


def test_monochrome1_is_the_negative():
    tags = {"WindowCenter": 2048, "WindowWidth": 4096}
    plain = read(dicom_file(RAMP, **tags)).pixels_u8
    np.testing.assert_array_equal(
        read(dicom_file(RAMP, PhotometricInterpretation="MONOCHROME1", **tags)).pixels_u8, 255 - plain
    )


def test_first_of_several_windows():
    scan = read(dicom_file(RAMP, WindowCenter=[2048, 1], WindowWidth=[4096, 2]))
    assert scan.parameters["window"] == {"centre": 2048.0, "width": 4096.0, "function": "LINEAR", "source": "tag"}


def test_without_a_window_percentiles_are_taken():
    scan = read(dicom_file(RAMP))
    assert scan.parameters["window"]["source"] == "percentiles"
    assert (scan.pixels_u8.min(), scan.pixels_u8.max()) == (0, 255)


@pytest.mark.parametrize(("centre", "width"), [(60_000, 10), (2048, 0), (2048, -5)])
def test_a_window_that_shows_nothing_is_replaced(centre, width):
    scan = read(dicom_file(RAMP, WindowCenter=centre, WindowWidth=width))
    assert scan.parameters["window"]["source"] == "percentiles"
    assert scan.pixels_u8.max() == 255


def test_padding_does_not_move_the_window():
    stored = RAMP.astype(np.int16).copy()
    stored[:20] = -2000
    scan = read(dicom_file(stored, PixelPaddingValue=-2000))
    np.testing.assert_array_equal(scan.pixels_u8[20:], read(dicom_file(stored[20:])).pixels_u8)
    assert scan.pixels_u8[:20].max() == 0


def test_tables_for_modality_and_window():
    stored = (RAMP // 64).astype(np.uint8)  # 0..63

    def table(values, bits):
        item = Dataset()
        item.add_new(0x00283002, "US", [len(values), 0, bits])
        item.add_new(0x00283006, "US", list(values))
        return Sequence([item])

    scan = read(dicom_file(stored, VOILUTSequence=table(range(252, -4, -4), 8)))
    np.testing.assert_array_equal(scan.pixels_u8, 252 - 4 * stored)
    assert scan.parameters["window"]["function"] == "TABLE"
    scan = read(dicom_file(stored, ModalityLUTSequence=table([1000 - k for k in range(64)], 16)))
    np.testing.assert_array_equal(scan.pixels_u8, 255 - read(dicom_file(stored)).pixels_u8)


def test_overlay_bits_above_the_stored_ones_are_not_seen():
    stored = RAMP | np.uint16(0xF000)
    np.testing.assert_array_equal(
        read(dicom_file(stored, BitsStored=12, HighBit=11)).pixels_u8, read(dicom_file(RAMP)).pixels_u8
    )


def test_colour_becomes_luma_with_a_warning():
    rgb = np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    scan = read(dicom_file(rgb))
    np.testing.assert_allclose(scan.pixels_u8, rgb @ [0.299, 0.587, 0.114], atol=0.51)
    assert "scan_has_colour" in codes(scan)


def test_palette_becomes_luma():
    indices = np.random.default_rng(0).integers(0, 256, (32, 40), dtype=np.uint8)
    table = (np.arange(256) * 257).astype(np.uint16)
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = table.tobytes()
    np.testing.assert_array_equal(read(dicom_file(indices, **tags)).pixels_u8, indices)


def compressed(kind, syntax, pixels, **tags):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {"irreversible": False}))
    return dicom_file(pixels, syntax=syntax, PixelData=encapsulate([buffer.getvalue()]), **tags)


def test_jpeg_and_jpeg_2000_are_decoded():
    pixels = (head_phantom(64) // 16).astype(np.uint8)
    shown = read(compressed("JPEG2000", uid.JPEG2000Lossless, pixels, WindowCenter=128, WindowWidth=256)).pixels_u8
    np.testing.assert_array_equal(shown, pixels)
    shown = read(compressed("JPEG", uid.JPEGBaseline8Bit, pixels, WindowCenter=128, WindowWidth=256)).pixels_u8
    assert np.abs(shown.astype(int) - pixels).mean() < 2


ENCODINGS = ("", "_RLE", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_padded")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_scanners_own_slice_in_every_encoding(encoding):
    """MR_small comes with pydicom, whose own windowing maps onto the range of the stored type, 16 bits with a sign."""
    scan = read(Path(get_testdata_file(f"MR_small{encoding}.dcm", download=False)).read_bytes())
    plain = dcmread(get_testdata_file("MR_small.dcm", download=False))
    expected = (apply_voi_lut(plain.pixel_array, plain) + 32768) / 65535 * 255
    np.testing.assert_allclose(scan.pixels_u8, expected, atol=0.51)
    assert (scan.plane, scan.parameters["window"]["source"], scan.warnings) == ("axial", "tag", ())


def test_nothing_of_the_patient_is_kept():
    data = dicom_file(RAMP)
    assert SECRET.encode() in data
    scan = read(data)
    kept = json.dumps(scan.record())
    for secret in ("Mustermann", "Erika", "1970", "2026", "4711", "12345", "tse2d", "MR1", "SECRET"):
        assert secret not in kept
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", kept)  # an identifier
    assert {"PatientName", "PatientID", "PatientBirthDate", "PatientSex", "InstitutionName", "StudyDate"} <= set(
        scan.parameters["dropped_tags"]
    )
    assert {"SOPInstanceUID", "StudyInstanceUID", "SequenceName"} <= set(scan.parameters["dropped_tags"])
    assert scan.parameters["n_private_tags"] == 2
    assert scan.parameters["tags"]["MagneticFieldStrength"] == 3
    assert scan.parameters["tags"]["ScanningSequence"] == ["SE", "IR"]
    assert scan.parameters["spacing_mm"] == [0.5, 0.5]


@pytest.mark.parametrize("keyword", ["Modality", "ScanningSequence", "BurnedInAnnotation", "MRAcquisitionType"])
def test_a_name_in_a_field_of_terms_is_not_kept(keyword):
    scan = read(dicom_file(RAMP, **{keyword: "DOE JOHN"}))
    assert "DOE" not in json.dumps(scan.record())
    assert "DOE" not in "".join(warning.detail for warning in scan.warnings)


def test_warnings():
    assert codes(read(dicom_file(BurnedInAnnotation="YES"))) == {"text_burned_in"}
    assert codes(read(dicom_file(Modality="CT"))) == {"scan_is_not_mr"}
    assert codes(read(dicom_file(np.zeros((32, 32), np.uint16)))) == {"scan_is_flat"}
    assert codes(read(dicom_file(PixelSpacing=[0.5, 1.0]))) == {"pixels_are_not_square"}
    assert codes(read(dicom_file(RAMP, WindowCenter=60_000, WindowWidth=10))) == {"window_shows_nothing"}


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([1, 0, 0, 0, np.cos(np.radians(25)), np.sin(np.radians(25))], "axial"),
        ([1, 0, 0, 0, np.cos(np.radians(40)), np.sin(np.radians(40))], None),
        ([0, 0, 0, 0, 0, 0], None),
        (None, None),
    ],
)
def test_plane_from_the_direction_of_the_normal(orientation, plane):
    assert plane_of(orientation) == plane


def squeezed(syntax, **tags):
    """Compressed by name only."""
    return dicom_file(RAMP, syntax=syntax, PixelData=encapsulate([b"xx"]), **tags)


NOT_HERE = errors.DicomCompressionUnsupported
BAD = {
    "frames": (lambda: dicom_file(RAMP, NumberOfFrames=4), errors.DicomHasFrames),
    "cut in the pixels": (lambda: dicom_file(RAMP)[:-100], errors.ScanTruncated),
    "cut before the pixels": (lambda: dicom_file(RAMP)[:900], errors.ScanRefused),
    "no pixels": (lambda: dicom_file(RAMP, PixelData=None), errors.DicomHasNoPixels),
    "no rows": (lambda: dicom_file(RAMP, Rows=None), errors.DicomHasNoPixels),
    "40,000 x 40,000": (lambda: dicom_file(RAMP, Rows=40_000, Columns=40_000), errors.ScanTooLarge),
    "one row": (lambda: dicom_file(RAMP, Rows=1), errors.ScanTooSmall),
    "JPEG-LS": (lambda: squeezed(uid.JPEGLSLossless), NOT_HERE),
    "JPEG lossless": (lambda: squeezed(uid.JPEGLosslessSV1), NOT_HERE),
    "JPEG of 12 bits": (lambda: squeezed(uid.JPEGExtended12Bit, BitsStored=12), NOT_HERE),
    "video": (lambda: squeezed(uid.MPEG2MPML), NOT_HERE),
    "deflated": (lambda: dicom_file(RAMP, syntax=uid.DeflatedExplicitVRLittleEndian), NOT_HERE),
    "broken JPEG": (lambda: squeezed(uid.JPEGBaseline8Bit), errors.ScanDamaged),
    "cut JPEG": (lambda: compressed("JPEG", uid.JPEGBaseline8Bit, RAMP.astype(np.uint8))[:-200], errors.ScanTruncated),
    "other colours": (lambda: dicom_file(RAMP, PhotometricInterpretation="HSV"), errors.DicomColourUnsupported),
    "only the magic": (lambda: bytes(128) + b"DICM", errors.DicomHasNoPixels),
    "junk after the magic": (lambda: bytes(128) + b"DICM" + bytes(range(50)), errors.ScanRefused),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(name):
    make, error = BAD[name]
    with pytest.raises(error) as caught:
        read(make())
    assert SECRET not in caught.value.detail
    assert caught.value.detail.endswith(".")


def test_deep_and_many_sequences_end():
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = struct.pack("<HH2sHL", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    head = dicom_file(RAMP)[:400]
    for bomb in ((sequence + item) * 50_000, sequence + item * 200_000):
        with pytest.raises(errors.ScanRefused):
            read(head + bomb)


def test_too_many_elements():
    elements = b"".join(struct.pack("<HH2sH", 0x0051, index, b"LO", 0) for index in range(30_000))
    with pytest.raises(errors.ScanDamaged):
        read(dicom_file(RAMP) + elements)


SEED = dicom_file(head_phantom(24), WindowCenter=2048, WindowWidth=4096)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, len(SEED)),
)
def test_damaged_files_give_pixels_or_a_named_error(changes, cut):
    data = bytearray(SEED)
    for position, value in changes:
        data[position] = value
    try:
        scan = read(bytes(data[: len(data) - cut // 3]))
    except errors.ScanRefused:
        return
    assert scan.pixels_u8.dtype == np.uint8
    assert "Erika" not in json.dumps(scan.record(), allow_nan=False)
