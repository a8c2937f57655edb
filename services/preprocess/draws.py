"""What chance does to an image: drawn apart from its effect, recorded with the image, and replayed from the record."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.preprocess.recipe import Recipe


@dataclass(frozen=True)
class Draw:
    """What was drawn for one image.

    Attributes:
        rotation_deg: angle, degrees, counter-clockwise; 0 leaves the image as it is.
        flip_horizontal: whether left and right change places.
        flip_vertical: whether top and bottom change places.
    """

    rotation_deg: int = 0
    flip_horizontal: bool = False
    flip_vertical: bool = False

    def record(self) -> dict[str, Any]:
        """The draw as JSON."""
        return asdict(self)


NO_DRAW = Draw()


def draw_for_image(name: str, split: str | None, recipe: Recipe) -> Draw:
    """What the recipe's seed draws for this image, whatever the other images of the set are.

    An image without a split counts as Training.

    Args:
        name: the image's name in the raw set.
        split: Training, Testing or None.
        recipe: names the seed, the steps and the splits they are for.
    """
    rotation_deg, horizontal, vertical = 0, False, False
    if recipe.rotation is not None and (split or "Training") in recipe.rotation.splits:
        stream = stream_for(recipe.seed, "rotation", name)
        if stream.random() < recipe.rotation.share:
            rotation_deg = stream.randint(recipe.rotation.low_deg, recipe.rotation.high_deg)
    if recipe.flips is not None and (split or "Training") in recipe.flips.splits:
        stream = stream_for(recipe.seed, "flips", name)
        horizontal = stream.random() < recipe.flips.horizontal
        vertical = stream.random() < recipe.flips.vertical
    return Draw(rotation_deg, horizontal, vertical)


def draw_subset(names: Sequence[str], n: int, seed: int, purpose: str) -> set[str]:
    """`n` of the names, or all if there are not more; a name's luck does not depend on the others' order.

    Args:
        names: distinct names.
        n: how many to draw.
        seed: the recipe's seed.
        purpose: keeps the draws of different steps apart.
    """
    return set(sorted(names, key=lambda name: stream_for(seed, purpose, name).random())[:n])


def stream_for(seed: int, purpose: str, name: str) -> random.Random:
    """Random numbers that belong to one image and one step."""
    return random.Random(f"{seed}/{purpose}/{name}")
