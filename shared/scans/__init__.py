"""Scans as hospitals keep them, DICOM and NIfTI: from the bytes of a file to gray pixels and safe technical facts.

    content.py       what a file is, by its bytes; what a scan becomes
    dicom.py         one DICOM slice, checked from its header
    dicom_tags.py    which tags are kept, and the keywords of those that are dropped
    dicom_pixels.py  its pixels: rescaling, window, colour
    nifti.py         the slices of a NIfTI volume
    nifti_volume.py  the volume, turned to the patient's axes
    windowing.py     stored levels -> 0..255
    cautions.py      what the sender of an accepted scan should know
    errors.py        what can be wrong with a scan

Whatever could identify a patient is dropped here: values are read from a short list of technical tags only, and a text
is kept only where the standard lists all the texts it may be. What these modules cannot see is a name that stands in
the name of the file, or in the pixels.

Neither pydicom nor nibabel is imported before the first scan comes.
"""
