"""A composition: how many real and synthetic images of each class a classifier trains on, and which ones those are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shared.errors import InvalidInput
from shared.tumour import TumourClass

Pool = Mapping[TumourClass, Sequence[str]]
"""The images to choose from: names per class, in the order of their image set."""

STUDY_ROW_ORDER = (TumourClass.GLIOMA, TumourClass.MENINGIOMA, TumourClass.PITUITARY, TumourClass.NOTUMOR)
"""The order of the classes in the study's training table (study_selection.csv); its shuffles start from it."""
CHOICE_SEED = 42
"""Random state of every choice of images in the study, whatever the training seed (study, section 5.2)."""


class NotEnoughImages(InvalidInput):
    """An image set has fewer images of a class than the composition asks for."""


class EmptyComposition(InvalidInput):
    """The composition has no images, or images of one class only."""


@dataclass(frozen=True)
class Count:
    """How many images of one class; `all` takes every real one."""

    real: int | Literal["all"] = 0
    synthetic: int = 0


@dataclass(frozen=True)
class FineTuning:
    """A second phase with the same network: a share of the first phase's real images, and synthetic ones.

    Attributes:
        real_share: of the first phase's real images.
        synthetic: images added per class.
        epochs_share: length of this phase as a share of the first one's epochs.
    """

    real_share: float
    synthetic: Mapping[TumourClass, int]
    epochs_share: float


@dataclass(frozen=True)
class Composition:
    """A named mix; classes that are left out have no images.

    Attributes:
        name: what reports call it.
        counts: images by class.
        fine_tuning: a second phase, if there is one.
        in_order: whether real images stand in the order of their set where all are taken. Jobs of a version that drew
            them all the same say nothing of it, and go on as they began.
    """

    name: str
    counts: Mapping[TumourClass, Count]
    fine_tuning: FineTuning | None = None
    in_order: bool = True

    def to_json(self) -> dict[str, Any]:
        """The wire form, which `from_json` reads back."""
        body: dict[str, Any] = {
            "counts": {str(k): {"real": v.real, "synthetic": v.synthetic} for k, v in self.counts.items()},
            "in_order": self.in_order,
        }
        if self.fine_tuning is not None:
            tuning = self.fine_tuning
            synthetic = {str(k): n for k, n in tuning.synthetic.items()}
            body["fine_tuning"] = {
                "real_share": tuning.real_share,
                "synthetic": synthetic,
                "epochs_share": tuning.epochs_share,
            }
        return body

    @classmethod
    def from_json(cls, name: str, body: Mapping[str, Any]) -> "Composition":
        """Read `{"counts": {class: {"real": n | "all", "synthetic": n}}, "fine_tuning": {...}}`."""
        counts = {
            TumourClass(k): Count(real=v.get("real", 0), synthetic=v.get("synthetic", 0))
            for k, v in body["counts"].items()
        }
        tuning, in_order = body.get("fine_tuning"), bool(body.get("in_order", False))
        if tuning is None:
            return cls(name, counts, in_order=in_order)
        synthetic = {TumourClass(k): int(n) for k, n in tuning["synthetic"].items()}
        phase = FineTuning(float(tuning["real_share"]), synthetic, float(tuning["epochs_share"]))
        return cls(name, counts, phase, in_order)


@dataclass(frozen=True)
class Selection:
    """The chosen images: names and, beside each, its class."""

    real: tuple[tuple[TumourClass, str], ...]
    synthetic: tuple[tuple[TumourClass, str], ...]

    def __len__(self) -> int:
        return len(self.real) + len(self.synthetic)


def select(composition: Composition, real: Pool, synthetic: Pool) -> Selection:
    """The images of the first phase, real before synthetic, classes in the study's row order.

    The choice does not depend on the training seed, and a smaller choice is part of every larger one: so the seeds
    of a composition, and the sizes of a scenario, differ in nothing else.

    Raises:
        NotEnoughImages: a set has fewer images of a class than asked.
        EmptyComposition: fewer than two classes have images.
    """
    chosen_real: list[tuple[TumourClass, str]] = []
    chosen_synthetic: list[tuple[TumourClass, str]] = []
    for tumour_class in STUDY_ROW_ORDER:
        count = composition.counts.get(tumour_class, Count())
        names = real.get(tumour_class, ())
        picked = list(names) if count.real == "all" else _choose(names, count.real, tumour_class, "real", composition)
        chosen_real += [(tumour_class, name) for name in picked]
        names = synthetic.get(tumour_class, ())
        picked = _choose(names, count.synthetic, tumour_class, "synthetic", composition)
        chosen_synthetic += [(tumour_class, name) for name in picked]
    selection = Selection(tuple(chosen_real), tuple(chosen_synthetic))
    if len({tumour_class for tumour_class, _ in selection.real + selection.synthetic}) < 2:
        raise EmptyComposition(
            f"Composition {composition.name!r} selects images of fewer than two classes, so nothing can be learnt."
        )
    return selection


def select_fine_tuning(
    composition: Composition, tuning: FineTuning, real: Pool, synthetic: Pool, seed: int
) -> Selection:
    """The images of the second phase: the first part of the seed-shuffled real list, and the synthetic ones.

    With the study's selection and seed 33 this gives its 438 glioma, 373 meningioma, 354 pituitary and 438 notumor
    images (study, section 5.2, scenario 5).
    """
    first = select(composition, real, synthetic)
    order = np.arange(len(first.real))
    np.random.RandomState(seed).shuffle(order)  # scikit-learn's shuffle with the global NumPy state (study, 5.1)
    kept = tuple(first.real[k] for k in order[: int(len(order) * tuning.real_share)])
    added: list[tuple[TumourClass, str]] = []
    for tumour_class in STUDY_ROW_ORDER:
        names = synthetic.get(tumour_class, ())
        n = tuning.synthetic.get(tumour_class, 0)
        picked = _choose(names, n, tumour_class, "synthetic", composition)
        added += [(tumour_class, name) for name in picked]
    return Selection(kept, tuple(added))


def union(selections: Sequence[Selection]) -> Selection:
    """Every image that any of the selections has, once, in the order in which they first occur."""
    return Selection(
        tuple(dict.fromkeys(image for selection in selections for image in selection.real)),
        tuple(dict.fromkeys(image for selection in selections for image in selection.synthetic)),
    )


def _choose(
    names: Sequence[str], n: int, tumour_class: TumourClass, origin: str, composition: Composition
) -> list[str]:
    if n > len(names):
        raise NotEnoughImages(
            f"Composition {composition.name!r} asks for {n} {origin} {tumour_class} images; "
            f"there are {len(names)}. Add images or ask for fewer.",
            composition=composition.name,
            tumour_class=str(tumour_class),
            origin=origin,
            asked=n,
            available=len(names),
        )
    if origin == "real" and n == len(names) and composition.in_order:
        return list(names)  # The study took all of its real images as they stand in its table, undrawn (section 5.2).
    # pandas' sample(n, random_state=42) without replacement is the head of this permutation (study, section 5.2).
    order = np.random.RandomState(CHOICE_SEED).permutation(len(names))
    return [names[k] for k in order[:n]]
