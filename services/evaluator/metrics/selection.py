"""Which images of two manifests are compared: class, split, and what a reader must be warned of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.evaluator.metrics.samples import TooFewImages
from shared.errors import InvalidInput
from shared.tumour import CLASS_ORDER, Split

Images = list[dict[str, Any]]
"""Entries of a manifest's `images`: name, class, split, sha256, width, height and more."""

SplitChoice = Literal["Training", "Testing", "all"]
"""Which real images are the reference."""


@dataclass(frozen=True)
class Caution:
    """What a reader of the scores must be warned of.

    Attributes:
        code: short name for programs, for example "sizes_resized".
        sentence: for people, with the numbers in it.
    """

    code: str
    sentence: str


class NoSuchImages(InvalidInput):
    """A set has no image of the class or split that was asked for."""


@dataclass(frozen=True)
class Selection:
    """The images of one evaluation.

    Attributes:
        tumour_class: the class that both sides were cut to, or None for all classes.
        synthetic: images under test.
        real: images they are compared with.
        other_real: real images of the other split, for the floor; empty where there is no other split.
        cautions: what the cut itself is worth warning of.
    """

    tumour_class: str | None
    synthetic: Images
    real: Images
    other_real: Images
    cautions: list[Caution]

    @property
    def images(self) -> Images:
        """All three lists, one after the other."""
        return [*self.synthetic, *self.real, *self.other_real]

    @property
    def n_images(self) -> int:
        """Images of all three lists together."""
        return len(self.synthetic) + len(self.real) + len(self.other_real)


def select_images(synthetic: Images, real: Images, *, tumour_class: str | None, split: SplitChoice) -> Selection:
    """The images to compare.

    Without a class, a synthetic set of one class is compared with real images of that class: against all four it
    would be blamed for the three it does not try to show.

    Args:
        synthetic: all images of the synthetic set.
        real: all images of the real set.
        tumour_class: cut both sides to this class; None: see above.
        split: the real images' split; ignored, with a warning, where the set knows no splits.

    Raises:
        NoSuchImages: a side is empty after the cut.
        TooFewImages: a side has fewer than two images.
    """
    cautions: list[Caution] = []
    if tumour_class is None:
        classes = {image["class"] for image in synthetic}
        if len(classes) == 1 and len({image["class"] for image in real}) > 1:
            (tumour_class,) = classes
            sentence = f"The synthetic set holds {tumour_class} only, so the real set was cut to that class."
            cautions.append(Caution("cut_to_class", sentence))
    chosen = _of_class(synthetic, tumour_class)
    candidates = _of_class(real, tumour_class)
    has_splits = any(image.get("split") for image in candidates)
    if split != "all" and candidates and not has_splits:
        sentence = f"The real set has no splits; all its images were used instead of {split}."
        cautions.append(Caution("no_splits", sentence))
    cut = has_splits and split != "all"
    reference = [image for image in candidates if image.get("split") == split] if cut else candidates
    other = Split.TESTING if split == "Training" else Split.TRAINING
    other_real = [image for image in candidates if image.get("split") == other] if cut else []
    _require("synthetic", chosen, synthetic, tumour_class, None)
    _require("real", reference, real, tumour_class, split if cut else None)
    return Selection(tumour_class, chosen, reference, other_real if len(other_real) > 1 else [], cautions)


def class_shares(images: Images) -> dict[str, float]:
    """By class, its share of the images, 0..1; there must be one image at least."""
    return {name: sum(image["class"] == name for image in images) / len(images) for name in CLASS_ORDER}


def count_leaks(manifest: dict[str, Any]) -> int | None:
    """Testing images of a set that occur in its Training images, and were kept; None where nobody has looked."""
    leakage = manifest.get("leakage") or {"checked": False}
    return int(leakage.get("kept", 0)) if leakage.get("checked", True) else None


def size_cautions(selection: Selection, n_resized: int, size_px: tuple[int, int]) -> list[Caution]:
    """Unequal numbers and sizes of images."""
    found = []
    n_synthetic, n_real = len(selection.synthetic), len(selection.real)
    if n_synthetic != n_real:
        sentence = (
            f"The sides differ in number ({n_synthetic} synthetic, {n_real} real); the Fréchet distance depends on n."
        )
        found.append(Caution("numbers_differ", sentence))
    if n_resized:
        sentence = (
            f"{n_resized} of {selection.n_images} images were resized to {size_px[0]} x {size_px[1]} px, the commonest "
            "size of the real images; the scores include what resizing does."
        )
        found.append(Caution("sizes_resized", sentence))
    return found


def _of_class(images: Images, tumour_class: str | None) -> Images:
    return [image for image in images if tumour_class is None or image["class"] == tumour_class]


def _require(side: str, chosen: Sequence[Any], everything: Images, tumour_class: str | None, split: str | None) -> None:
    wanted = "".join(f"{part} " for part in (tumour_class, split) if part)
    if not chosen:
        classes = sorted({image["class"] for image in everything if image["class"]})
        splits = sorted({image["split"] for image in everything if image.get("split")})
        raise NoSuchImages(
            f"The {side} set has no {wanted}images; it has the classes {', '.join(classes) or 'none'} and the splits "
            f"{', '.join(splits) or 'none'}."
        )
    if len(chosen) < 2:
        raise TooFewImages(
            f"The {side} set has one {wanted}image; a distance between distributions needs at least 2.",
            side=side,
            n=len(chosen),
        )
