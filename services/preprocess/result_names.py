"""Names of prepared images: the path of the source with the new ending, kept distinct."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath


def name_results(names: Sequence[str], extension: str, relabelled: Mapping[str, str] | None = None) -> dict[str, str]:
    """New name of each image.

    `a.jpg` and `a.bmp` of one folder become `a_jpg.png` and `a_bmp.png`; a relabelled image moves to its class's
    folder.

    Args:
        names: distinct names in the raw set, such as `Training/glioma/Tr-gl_0001.jpg`.
        extension: ending of the new files, with its dot.
        relabelled: the new class of images whose class was corrected.
    """
    stems = {name: _stem(name, (relabelled or {}).get(name)) for name in names}
    wanted = Counter(stems.values())
    taken = {stem for stem, n in wanted.items() if n == 1}
    renamed: dict[str, str] = {}
    for name in names:
        stem = stems[name]
        if wanted[stem] > 1:
            stem = f"{stem}_{PurePosixPath(name).suffix.lstrip('.') or 'file'}"
            while stem in taken:
                stem += "_"
            taken.add(stem)
        renamed[name] = stem + extension
    return renamed


def _stem(name: str, tumour_class: str | None) -> str:
    path = PurePosixPath(name).with_suffix("")
    if tumour_class is None or len(path.parts) < 2:
        return str(path)
    return str(PurePosixPath(*path.parts[:-2], tumour_class, path.name))
