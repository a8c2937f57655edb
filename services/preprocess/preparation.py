"""The stage of a preprocessing job that prepares the images which stay."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from services.preprocess.draws import Draw
from services.preprocess.pipeline import encode_image, prepare_pixels
from services.preprocess.recipe import Recipe
from services.preprocess.rotation import BATCH, Pixels, fits, rotate_together
from services.preprocess.sources import get_result, put_json, read_blob
from services.preprocess.threads import in_threads
from shared.jobs.runner import Execution

_COST_MS, _TURN_MS, _TURN_TOGETHER_MS = 3.0, 18.0, 9.0
"""What an image of 512 x 512 pixels costs, and what turning it costs besides; only their proportions matter."""


def prepare_shard(execution: Execution) -> dict[str, Any]:
    """Prepare and store this shard's share of the images that stay."""
    plan = get_result(execution, "plan")
    recipe = Recipe.parse(plan["recipe"])
    batches = share_out(plan["kept"], execution.spec["parts"])[execution.spec["part"]]

    def prepare(batch: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        angle_deg = batch[0]["draw"]["rotation_deg"]
        images_u8 = [read_blob(execution, image["sha256"]).pixels_u8 for image in batch]
        turned_u8 = rotate_together(images_u8, angle_deg) if angle_deg and len(batch) > 1 else None
        return [
            _prepare_one(execution, image, pixels_u8, recipe, turned=turned_u8 is not None)
            for image, pixels_u8 in zip(batch, turned_u8 or images_u8, strict=True)
        ]

    prepared = in_threads(execution, batches, prepare, execution.spec["quota"])
    # The hashes stand in the row too, where the garbage collector looks for what is needed.
    return {"prepared": put_json(execution, prepared), "images": [image["sha256"] for image in prepared]}


def _prepare_one(
    execution: Execution, image: dict[str, Any], pixels_u8: Pixels, recipe: Recipe, *, turned: bool
) -> dict[str, Any]:
    result = prepare_pixels(pixels_u8, recipe, Draw(**image["draw"]), image["class"], turned=turned)
    return {
        "source": image["name"],
        "source_sha256": image["sha256"],
        "sha256": execution.objects.put_blob(encode_image(result.pixels_u8, recipe)),
        "parameters": {**result.parameters, "file": image["file"]},
    }


def share_out(images: Sequence[dict[str, Any]], n_shards: int) -> list[list[list[dict[str, Any]]]]:
    """The batches of each shard: images turned alike stay together, and the shards take about the same time.

    Args:
        images: what the plan keeps: each with `draw` and the facts of its `file`.
        n_shards: how many shards share them.
    """
    alike: dict[tuple[int, int, int], list[dict[str, Any]]] = defaultdict(list)
    for image in images:
        alike[image["draw"]["rotation_deg"], image["file"]["width"], image["file"]["height"]].append(image)
    together = {
        (angle_deg, width, height): group
        for (angle_deg, width, height), group in alike.items()
        if fits(len(group), height, width, angle_deg)
    }
    shards: list[list[list[dict[str, Any]]]] = [[] for _ in range(n_shards)]
    load_ms = [0.0] * n_shards
    for (_, width, height), group in sorted(together.items(), key=lambda item: -len(item[1]) * item[0][1] * item[0][2]):
        shard = load_ms.index(min(load_ms))
        shards[shard] += [group[start : start + BATCH] for start in range(0, len(group), BATCH)]
        load_ms[shard] += len(group) * (_COST_MS + _TURN_TOGETHER_MS) * width * height / 512**2
    for key, group in alike.items():
        if key in together:
            continue
        cost_ms = (_COST_MS + (_TURN_MS if key[0] else 0.0)) * key[1] * key[2] / 512**2
        for image in group:
            shard = load_ms.index(min(load_ms))
            shards[shard].append([image])
            load_ms[shard] += cost_ms
    return shards
