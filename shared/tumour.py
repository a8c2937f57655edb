"""The vocabulary of the field: tumour classes, splits and imaging planes, spelled as on the wire."""

from enum import StrEnum


class TumourClass(StrEnum):
    """The four classes of the Nickparvar brain tumour data set, in the platform's fixed order."""

    GLIOMA = "glioma"
    MENINGIOMA = "meningioma"
    NOTUMOR = "notumor"
    PITUITARY = "pituitary"


class Split(StrEnum):
    """Which part of a data set an image belongs to; models train on one and are measured on the other."""

    TRAINING = "Training"
    TESTING = "Testing"


class Plane(StrEnum):
    """The anatomical plane of a slice."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


CLASS_ORDER: tuple[TumourClass, ...] = tuple(TumourClass)
"""The fixed index of each class in every label vector and every probability vector."""
