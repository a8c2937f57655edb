"""Which code and which libraries made an artifact."""

import os
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = (
    "numpy", "pillow", "opencv-python-headless", "torch", "monai", "diffusers", "tensorflow", "keras", "torch-fidelity",
    "scipy", "pydicom", "nibabel",
)  # fmt: skip


@lru_cache
def code_version() -> str:
    """The version of this code, with the commit where the build names it in SYNTHMRI_COMMIT."""
    commit = os.environ.get("SYNTHMRI_COMMIT", "")
    return version("synthmri") + (f"+{commit}" if commit else "")


@lru_cache
def library_versions() -> dict[str, str]:
    """The versions of the numerical libraries installed here; a missing one is left out."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
