"""Which images of two manifests an audit compares, class by class, and what a reader must be warned of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.evaluator.features.reading import SizePx, common_size
from services.evaluator.metrics.samples import TooFewImages
from services.evaluator.metrics.selection import Caution, Images, NoSuchImages
from shared.errors import InvalidInput
from shared.tumour import CLASS_ORDER, Split

MIN_IMAGES: Final = 5
"""Fewest images of a class on a side: with fewer no fold of the detector's cross-validation would have one of each."""


class UsefulnessNotMeasurable(InvalidInput):
    """Usefulness alone was asked for, and these sets do not allow it."""


@dataclass(frozen=True)
class Sides:
    """The images of one class.

    Attributes:
        synthetic: images under test.
        reference: real images that the model has seen.
        baseline: fresh real images; empty where there are too few.
    """

    synthetic: Images
    reference: Images
    baseline: Images

    @property
    def n_images(self) -> int:
        """Images of all three sides together."""
        return len(self.synthetic) + len(self.reference) + len(self.baseline)


def other_split(split: str) -> str:
    """The split that is the baseline where this one is the reference."""
    return str(Split.TESTING if split == Split.TRAINING else Split.TRAINING)


def select_sides(synthetic: Images, real: Images, *, tumour_class: str | None, split: str) -> dict[str, Sides]:
    """The three sides of each class, in the platform's order of classes.

    Args:
        synthetic: all images of the synthetic set.
        real: all images of the real set; without any split all of them are the reference.
        tumour_class: this class only; None: every class of the synthetic set.
        split: of the reference.

    Raises:
        NoSuchImages: a side has no image of a class, or of the split.
        TooFewImages: a side has fewer than MIN_IMAGES of a class.
    """
    found = {image["class"] for image in synthetic if image["class"]}
    classes = [tumour_class] if tumour_class else [str(name) for name in CLASS_ORDER if name in found]
    if not classes:
        raise NoSuchImages("The synthetic set has no image of any class.")
    has_splits = any(image.get("split") for image in real)
    sides = {}
    for name in classes:
        of_class = [image for image in real if image["class"] == name]
        reference = [image for image in of_class if not has_splits or image.get("split") == split]
        baseline = [image for image in of_class if has_splits and image.get("split") == other_split(split)]
        chosen = [image for image in synthetic if image["class"] == name]
        _require("synthetic", name, chosen, synthetic)
        _require("real", f"{name} {split}" if has_splits else name, reference, real)
        sides[name] = Sides(chosen, reference, baseline if len(baseline) >= MIN_IMAGES else [])
    return sides


def _require(side: str, what: str, chosen: Sequence[Any], everything: Images) -> None:
    if not chosen:
        classes = sorted({image["class"] for image in everything if image["class"]})
        splits = sorted({image["split"] for image in everything if image.get("split")})
        raise NoSuchImages(
            f"The {side} set has no {what} images; it has the classes {', '.join(classes) or 'none'} and the splits "
            f"{', '.join(splits) or 'none'}. Audit one class with `class`."
        )
    if len(chosen) < MIN_IMAGES:
        raise TooFewImages(
            f"The {side} set has {len(chosen)} {what} images; an audit needs at least {MIN_IMAGES} of each class.",
            side=side,
            n=len(chosen),
            minimum=MIN_IMAGES,
        )


def refuse_usefulness(sides: dict[str, Sides]) -> Caution | None:
    """Why usefulness cannot be measured with these images; None where it can."""
    if len(sides) < 2:
        return Caution(
            "usefulness_left_out", "Usefulness was left out: a classifier needs images of at least two classes."
        )
    bare = [name for name, side in sides.items() if not side.baseline]
    if bare:
        sentence = (
            f"Usefulness was left out: the real set has no other split of {', '.join(bare)} to test a classifier on "
            f"(at least {MIN_IMAGES} images)."
        )
        return Caution("usefulness_left_out", sentence)
    return None


def choose_size(sides: dict[str, Sides]) -> tuple[SizePx, list[Caution]]:
    """The size to which all images are brought, the commonest of the reference, and a warning if that changes any."""
    everything = [side.synthetic + side.reference + side.baseline for side in sides.values()]
    reference = [_size(image) for side in sides.values() for image in side.reference]
    others = [_size(image) for side in sides.values() for image in side.synthetic + side.baseline]
    size_px, n_resized = common_size(reference, others)
    if not n_resized:
        return size_px, []
    n = sum(map(len, everything))
    sentence = (
        f"{n_resized} of {n} images were resized to {size_px[0]} x {size_px[1]} px, the commonest size of the real "
        "images: sharpness and spectra include what resizing does."
    )
    return size_px, [Caution("sizes_resized", sentence)]


def _size(image: dict[str, Any]) -> SizePx:
    return image["width"], image["height"]


def warn_of_sides(sides: dict[str, Sides], split: str, *, has_splits: bool) -> list[Caution]:
    """What the real set lacks."""
    bare = [name for name, side in sides.items() if not side.baseline]
    if not has_splits:
        sentence = (
            "The real set has no splits: all its images are the reference, and nothing shows what fresh real images "
            "look like beside them."
        )
        return [Caution("no_baseline", sentence)]
    if bare:
        sentence = (
            f"The real set has fewer than {MIN_IMAGES} {other_split(split)} images of {', '.join(bare)}: nothing shows "
            "what fresh real images look like there."
        )
        return [Caution("no_baseline", sentence)]
    return []


def warn_of_kinds(synthetic_kind: str, real_kind: str, *, same: bool) -> list[Caution]:
    """Sets that are not of the kind their place asks for."""
    found = []
    if same:
        found.append(Caution("same_set", "Both sides are the same image set."))
    if synthetic_kind != "synthetic":
        sentence = f"The set given as synthetic is {synthetic_kind}: its images were not generated here."
        found.append(Caution("synthetic_set_is_not", sentence))
    if real_kind == "synthetic":
        found.append(Caution("real_set_is_synthetic", "The set given as real is synthetic."))
    if real_kind == "raw":
        sentence = (
            "The real set is as it was uploaded: cues such as size and file format tell of preprocessing as well. Best "
            "give the preprocessed set that the model was trained on."
        )
        found.append(Caution("real_set_is_raw", sentence))
    return found
