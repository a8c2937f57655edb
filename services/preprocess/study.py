"""The study's own draws: which images its random reduction kept, and the angle of each (study 2.1, steps 1, 3 and 4).

CPython's `random` with seed 10 repeats them exactly, if the images come in the study's row order. That was a directory
order, in no way sorted. `study_rows.csv` holds what is known of it: in Training the row of every image that the study
kept (the reduction's draw fixes it), in Testing which images it kept; those rows are sorted. Rows of images that were
not drawn are unknown and make no difference. For images of other names the order is that of their names.
"""

import csv
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import PurePosixPath

from services.preprocess.recipe import Recipe
from services.preprocess.steps import Reduction, Rotation
from shared.tumour import Split, TumourClass

_CLASS_ROWS = (TumourClass.GLIOMA, TumourClass.MENINGIOMA, TumourClass.PITUITARY, TumourClass.NOTUMOR)
_PREVIEW = 10  # images of a preview figure, drawn before the reduction
_SKIPPED_BEFORE_TRAINING = 7816  # 32-bit numbers; presumably earlier runs of the same cells
_SKIPPED_BEFORE_TESTING = 1394


@lru_cache
def known_rows() -> dict[str, int | None]:
    """The images that the study kept, by file name without ending, with their row in their class (None in Testing)."""
    text = files("services.preprocess").joinpath("study_rows.csv").read_text(encoding="utf-8")
    return {row["image"]: int(row["row"]) if row["row"] else None for row in csv.DictReader(text.splitlines())}


def was_kept_by_study(name: str) -> bool:
    """Whether the study kept the image of this name; of equal images it is the one to keep."""
    return PurePosixPath(name).stem in known_rows()


class StudyStream:
    """The study's sequence of random numbers, from its seed on.

    Args:
        seed: 10 in the study.
        n_training: images of Training before any was dropped; the preview figure draws from them.
    """

    def __init__(self, seed: int, n_training: int) -> None:
        self._random = random.Random(seed)
        self._random.sample(range(n_training), min(_PREVIEW, n_training))

    def reduce(self, rows: Mapping[str, Sequence[str]], reduction: Reduction | None) -> list[str]:
        """The names of Training that stay, in the order in which they were drawn.

        Args:
            rows: by class, the names in Training.
            reduction: which classes are cut, and to how many images; None cuts none.
        """
        kept: list[str] = []
        for tumour_class in [*_CLASS_ROWS, *sorted(set(rows) - set(_CLASS_ROWS))]:
            names = _in_row_order(rows.get(tumour_class, ()))
            if reduction is not None and tumour_class in reduction.classes:
                n = self._random.randint(reduction.least, reduction.most)
                names = self._random.sample(names, n) if n < len(names) else names
            kept += names
        return kept

    def angles(self, training: Sequence[str], testing: Sequence[str], rotation: Rotation) -> dict[str, int]:
        """The angle of every image, degrees, counter-clockwise; call it once, after `reduce`.

        Args:
            training: names in the order that `reduce` gave them.
            testing: names in their order.
            rotation: share and range of the angles, and the splits that are turned.
        """
        drawn: dict[str, int] = {}
        for split, names, skipped in (
            (Split.TRAINING, training, _SKIPPED_BEFORE_TRAINING),
            (Split.TESTING, testing, _SKIPPED_BEFORE_TESTING),
        ):
            for _ in range(skipped):
                self._random.getrandbits(32)
            for name in names if split in rotation.splits else ():
                turns = self._random.randint(0, 99) < 100 * rotation.share
                drawn[name] = self._random.randint(rotation.low_deg, rotation.high_deg) if turns else 0
        return drawn


def draw_as_study(
    training: Mapping[str, Sequence[str]], testing: Sequence[str], n_training: int, recipe: Recipe
) -> tuple[list[str], dict[str, int]]:
    """The names that stay, Training then Testing, in the study's order; and the angle of each, degrees.

    Args:
        training: by class, the names that are left in Training after duplicates and sizes.
        testing: the names that are left in Testing.
        n_training: images of Training before any was dropped.
        recipe: gives the seed, the reduction and the rotation.
    """
    stream = StudyStream(recipe.seed, n_training)
    kept, rest = stream.reduce(training, recipe.reduction), sorted(testing)
    angles = stream.angles(kept, rest, recipe.rotation) if recipe.rotation is not None else {}
    return [*kept, *rest], angles


def _in_row_order(names: Sequence[str]) -> list[str]:
    """The names with those of known rows at their rows, and the others between them in the order of their names."""
    rows = known_rows()
    placed: dict[int, str] = {}
    others: list[str] = []
    for name in sorted(names):
        row = rows.get(PurePosixPath(name).stem)
        if row is None or row >= len(names) or row in placed:
            others.append(name)
        else:
            placed[row] = name
    rest = iter(others)
    return [placed[row] if row in placed else next(rest) for row in range(len(names))]
