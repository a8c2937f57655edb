"""Which DICOM files of an upload are slices of one series, by identifiers that are compared here and kept nowhere."""

from collections import defaultdict
from collections.abc import Sequence

from gateway.upload.entries import Accepted
from gateway.upload.scans import ConvertedImage
from shared.tumour import TumourClass


def find_series(good: Sequence[Accepted]) -> dict[str, str]:
    """By name, the series that an image is a slice of, for series of two images or more.

    They are called `series 1`, `series 2` and so on, in the order given: an identifier could be looked up. Anonymisers
    that write one identifier into all files make no series: such files have one SOPInstanceUID for different pictures,
    or tumours of two classes.
    """
    series: dict[str, list[tuple[Accepted, str]]] = defaultdict(list)
    for item in good:
        if isinstance(item.image, ConvertedImage) and item.image.series[0]:
            identifier, instance = item.image.series
            series[identifier].append((item, instance))
    told = [[item for item, _ in members] for members in series.values() if len(members) > 1 and _is_one(members)]
    return {item.place.name: f"series {number}" for number, items in enumerate(told, start=1) for item in items}


def _is_one(members: Sequence[tuple[Accepted, str]]) -> bool:
    classes = {item.place.tumour_class for item, _ in members} - {TumourClass.NOTUMOR}
    instances, pictures = {instance for _, instance in members}, {item.image.sha256 for item, _ in members}
    return len(classes) <= 1 and (len(instances) > 1 or len(pictures) == 1)
