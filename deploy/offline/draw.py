"""Draw images with the weights of a folder that `train` left, or with the model that comes with the platform."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from deploy.offline.files import write_whole
from services.generator.memory import held_memory
from services.generator.models.checkpoints import load_network
from services.generator.models.network import choose_device
from services.generator.models.preset import Preset
from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
from services.generator.sampling.guidance import choose_class
from services.generator.sampling.outputs import ENDINGS, encode_drawing
from services.generator.sampling.recipe import SamplingRecipe, SamplingWishes, resolve_recipe
from services.generator.sampling.samplers import build_sampler
from shared.errors import InvalidInput
from shared.progress import Progress
from shared.tumour import TumourClass


class ClassNotSaid(InvalidInput):
    """The weights know one class, and nothing says which; or they know several, and not the one that is said."""


class DrawnOtherwise(InvalidInput):
    """The folder holds images of other weights or by another recipe, or nothing says how they were drawn."""


def draw_offline(
    weights: bytes,
    n: int,
    target: Path,
    wishes: SamplingWishes,
    progress: Progress,
    *,
    tumour_class: TumourClass | None = None,
    trained_precision: str | None = None,
) -> dict[str, Any]:
    """Draw `n` images of each class that the weights know into a folder for each class of `target`.

    Class number k of the network is drawn with seed + k, as one seed would give every class the same heads. Images that
    are there already stay, so that a drawing that was cut off goes on; it must be the same drawing.

    Args:
        weights: bytes of a `weights.safetensors`.
        n: images of each class.
        target: made if missing. A file beside it, of its name and `.json`, says from the beginning how the images are
            drawn, so that the folder holds images alone and can be uploaded.
        wishes: sampler, steps, seed, guidance, precision, batch size; what is left out is the preset's.
        progress: told of each batch of a class.
        tumour_class: what a network of one class draws, or the only one that is wanted of several.
        trained_precision: arithmetic of the training, from its card; the platform draws in bfloat16 with a network that
            was trained in it.

    Returns:
        What that file holds: SHA-256 of the weights, the recipe, and for each class its seed, and the images drawn and
        the seconds of all runs together, those that were cut off too.

    Raises:
        ClassNotSaid: a network of one class and no `tumour_class`, or one of several that does not know it.
        DrawnOtherwise: `target` holds images of another drawing.
        CheckpointIsPickle, CheckpointDamaged, TooManySteps, SizeTooSmall, StudySizeFixed, GuidanceNeedsClasses,
        GuidanceIntervalEmpty, SamplesNotFinite, BatchDoesNotFit: as the platform would.
    """
    device, target = choose_device(), target.resolve()
    network, preset = load_network(weights, device)
    recipe = resolve_recipe(preset, "offline", wishes, trained_precision=trained_precision)
    classes = _choose_classes(preset, tumour_class)
    card = target.with_name(f"{target.name}.json")
    same = {"weights": hashlib.sha256(weights).hexdigest(), "recipe": recipe.model_dump()}
    drawn = _find_drawn(target, card, same)
    facts = {**same, "classes": drawn}
    target.mkdir(parents=True, exist_ok=True)
    for each in classes:
        began = time.monotonic()
        own = recipe.model_copy(update={"seed": recipe.seed + (preset.classes.index(each) if preset.classes else 0)})
        write_whole(card, json.dumps(facts, indent=1).encode())
        folder = target / each
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{each}_{k:04d}.{ENDINGS[recipe.output]}" for k in range(1, n + 1)]
        earlier = drawn.get(each, {"images": 0, "seconds": 0.0})
        # Of a run that was killed nothing is counted, but its images lie there.
        n_drawn = max(earlier["images"], sum(path.exists() for path in paths))
        try:
            for _ in _draw_class(network, preset, own, each, paths, progress):
                n_drawn += 1
        finally:
            seconds = round(earlier["seconds"] + time.monotonic() - began, 2)
            drawn[each] = {"seed": own.seed, "images": n_drawn, "seconds": seconds}
            write_whole(card, json.dumps(facts, indent=1).encode())
    return facts


def _choose_classes(preset: Preset, tumour_class: TumourClass | None) -> Sequence[TumourClass]:
    if not preset.classes and tumour_class is None:
        raise ClassNotSaid("These weights draw one class; say which with --class.")
    if preset.classes and tumour_class is not None and tumour_class not in preset.classes:
        raise ClassNotSaid(f"These weights draw {', '.join(preset.classes)}; {tumour_class} is none of them.")
    return preset.classes if tumour_class is None else (tumour_class,)


def _find_drawn(target: Path, card: Path, same: dict[str, Any]) -> dict[str, Any]:
    """What `card` says of the classes drawn before.

    Raises:
        DrawnOtherwise: `target` holds images, and they are not laid to the weights and recipe of `same`.
    """
    if not any(target.glob("*/*")):
        return {}
    if not card.exists():
        raise DrawnOtherwise(
            f"{target} holds images already, and no {card} says how they were drawn; name another folder."
        )
    before: dict[str, Any] = json.loads(card.read_text())
    if differing := [name for name, value in same.items() if before.get(name) != value]:
        raise DrawnOtherwise(
            f"{target} holds images already, and by {card} they were drawn with other {' and '.join(differing)}; name "
            "another folder."
        )
    classes: dict[str, Any] = before["classes"]
    return classes


def _draw_class(
    network: nn.Module,
    preset: Preset,
    recipe: SamplingRecipe,
    tumour_class: TumourClass,
    paths: Sequence[Path],
    progress: Progress,
) -> Iterator[Path]:
    """Draw the images of one class that are missing among `paths`, image k being the kth; yields each once it lies."""
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    plan = SamplingPlan(
        preset.size_px, preset.value_range, recipe.seed, missing, recipe.batch_size, precision=recipe.precision
    )
    drawer = choose_class(network, preset, tumour_class, recipe)
    sampler = build_sampler(recipe.sampler, recipe.steps, preset.schedule)
    with held_memory():
        for index, drawn in sample_unit_images(drawer, sampler, plan, progress=progress, device=choose_device()):
            data = encode_drawing(drawn, transposed=preset.transpose, output=recipe.output, size_px=recipe.size)
            write_whole(paths[index], data)
            yield paths[index]
