"""DICOM and NIfTI files of phantoms, made with pydicom and nibabel."""

import gzip
import io
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

SECRET = "Mustermann^Erika"
"""Written into every text of a DICOM file that can hold one; must never be seen outside."""
AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def head_phantom(side_px: int = 64, top: int = 4000) -> NDArray[np.uint16]:
    """A bright ellipse with a darker core, levels 0..top, (side_px, side_px) uint16."""
    y, x = np.mgrid[-1 : 1 : side_px * 1j, -1 : 1 : side_px * 1j]
    r = np.hypot(x / 0.7, y / 0.85)
    levels = np.where(r < 1, top * (0.4 + 0.6 * r), 0)
    return np.asarray(np.rint(levels), dtype=np.uint16)


def identifying_tags() -> dict[str, Any]:
    """Everything of a patient that scanners write, in one value."""
    return {
        "PatientName": SECRET,
        "PatientID": SECRET,
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "PatientComments": SECRET,
        "InstitutionName": SECRET,
        "ReferringPhysicianName": SECRET,
        "StudyDate": "20260101",
        "StudyDescription": SECRET,
        "SeriesDescription": SECRET,
        "AccessionNumber": "12345",
        "StationName": "MR1",
        "DeviceSerialNumber": "4711",
        "SequenceName": "tse2d",
        "ImageComments": SECRET,
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
    }


def dicom_dataset(pixels: NDArray[Any] | None = None, **tags: Any) -> Dataset:
    """A data set of one MR slice with everything that identifies a patient; a tag of None is left out."""
    if pixels is None:
        pixels = head_phantom()
    dataset = Dataset()
    bits = pixels.dtype.itemsize * 8
    values: dict[str, Any] = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": generate_uid(),
        "Modality": "MR",
        "SamplesPerPixel": 1 if pixels.ndim == 2 else pixels.shape[-1],
        "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelSpacing": [0.5, 0.5],
        "ImageOrientationPatient": AXIAL,
        "MagneticFieldStrength": 3.0,
        "EchoTime": 12.5,
        "ScanningSequence": ["SE", "IR"],
        "BurnedInAnnotation": "NO",
        **identifying_tags(),
        **tags,
    }
    if pixels.ndim == 3:
        values.setdefault("PlanarConfiguration", 0)
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" not in tags:
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    block = dataset.private_block(0x0029, "SECRET MAKER", create=True)
    block.add_new(0x01, "LO", SECRET)
    return dataset


def dicom_file(
    pixels: NDArray[Any] | None = None, *, syntax: UID = ExplicitVRLittleEndian, preamble: bool = True, **tags: Any
) -> bytes:
    """The bytes of `dicom_dataset`."""
    dataset = dicom_dataset(pixels, **tags)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    if preamble:
        dataset.file_meta = meta
        dcmwrite(buffer, dataset, enforce_file_format=True)
    else:
        dcmwrite(buffer, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    return buffer.getvalue()


def nifti_file(
    levels: NDArray[Any],
    affine: NDArray[np.float64] | None = None,
    *,
    packed: bool = True,
    second: bool = False,
    coded: bool = True,
    **fields: Any,
) -> bytes:
    """A NIfTI-1 (or NIfTI-2) file of `levels`; `fields` set header fields, `coded=False` leaves the orientation out."""
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    image = kind(levels, np.eye(4) if affine is None else affine, dtype=levels.dtype)
    code = 1 if coded else 0
    image.set_qform(image.affine, code=code)
    image.set_sform(image.affine, code=code)
    for name, value in fields.items():
        image.header[name] = value
    data = bytes(image.to_bytes())
    return gzip.compress(data) if packed else data
