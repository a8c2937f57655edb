"""Which images of an upload are slices of one volume: of one NIfTI file, or of the DICOM files of one series."""

from collections import defaultdict
from collections.abc import Sequence

from gateway.upload.entries import Accepted
from gateway.upload.scans import ConvertedImage


def find_volumes(good: Sequence[Accepted]) -> dict[str, str]:
    """By name, the volume that an image is a slice of, for volumes of two images or more.

    A NIfTI volume has the name of its file. A series of DICOM files is called `series 1`, `series 2` and so on, in the
    order given: its own identifier could be looked up. Files that share even the identifier of a single image
    (SOPInstanceUID) and show different things had one identifier written into all of them, which tells nothing.
    """
    files: dict[str, list[Accepted]] = defaultdict(list)
    series: dict[str, list[tuple[Accepted, str]]] = defaultdict(list)
    for item in good:
        if not isinstance(item.image, ConvertedImage):
            continue
        of_series, instance = item.image.series
        if of_series:
            series[of_series].append((item, instance))
        elif item.image.parameters["format"] == "NIFTI":
            files[item.place.name.removesuffix(item.image.suffix)].append(item)
    told = [[item for item, _ in members] for members in series.values() if len(members) > 1 and _is_told(members)]
    volumes = {**files, **{f"series {number}": items for number, items in enumerate(told, start=1)}}
    return {item.place.name: volume for volume, items in volumes.items() if len(items) > 1 for item in items}


def _is_told(members: Sequence[tuple[Accepted, str]]) -> bool:
    """Whether an image's identifier is that of one picture only."""
    pictures = {(instance, item.image.sha256) for item, instance in members}
    return len(pictures) == len({instance for instance, _ in pictures})
