"""Draw images with the weights of a folder that `train` left, or with the model that comes with the platform."""

import json
import time
from collections.abc import Sequence
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
    """The weights know one class, and nothing says which."""


def draw_offline(
    weights: bytes,
    n: int,
    target: Path,
    wishes: SamplingWishes,
    progress: Progress,
    *,
    tumour_class: TumourClass | None = None,
) -> dict[str, Any]:
    """Draw `n` images of each class that the weights know into a folder for each class of `target`.

    Class number k is drawn with seed + k, as one seed would give every class the same heads. Images that are there
    already stay, so that a drawing that was cut off goes on.

    Args:
        weights: bytes of a `weights.safetensors`.
        n: images of each class.
        target: made if missing. A file beside it, of its name and `.json`, says how the images were drawn, so that the
            folder holds images alone and can be uploaded.
        wishes: sampler, steps, seed, guidance, precision, batch size; what is left out is the preset's.
        progress: told of each batch of a class.
        tumour_class: what a network of one class draws; None for one that knows several.

    Returns:
        What that file holds: the recipe, and for each class images drawn and seconds.

    Raises:
        ClassNotSaid: a network of one class, and no `tumour_class`.
        CheckpointIsPickle, CheckpointDamaged, TooManySteps, SizeTooSmall, StudySizeFixed, GuidanceNeedsClasses,
        SamplesNotFinite, BatchDoesNotFit: as the platform would.
    """
    device = choose_device()
    network, preset = load_network(weights, device)
    recipe = resolve_recipe(preset, "offline", wishes)
    classes = preset.classes or ((tumour_class,) if tumour_class is not None else ())
    if not classes:
        raise ClassNotSaid("These weights draw one class; say which with --class.")
    drawn: dict[str, Any] = {}
    for k, each in enumerate(classes):
        began = time.monotonic()
        own = recipe.model_copy(update={"seed": recipe.seed + k})
        folder = target / each
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{each}_{k:04d}.{ENDINGS[recipe.output]}" for k in range(1, n + 1)]
        n_drawn = _draw_class(network, preset, own, each, paths, progress)
        drawn[each] = {"seed": own.seed, "images": n_drawn, "seconds": round(time.monotonic() - began, 2)}
    facts = {"recipe": recipe.model_dump(), "classes": drawn}
    write_whole(target.with_name(f"{target.name}.json"), json.dumps(facts, indent=1).encode())
    return facts


def _draw_class(
    network: nn.Module,
    preset: Preset,
    recipe: SamplingRecipe,
    tumour_class: TumourClass,
    paths: Sequence[Path],
    progress: Progress,
) -> int:
    """Draw the images of one class that are missing among `paths`, image k being the kth; returns how many."""
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
    return len(missing)
