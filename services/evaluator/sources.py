"""Where the shards of an audit read from: the two sets, their images, and blobs that other shards left."""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from services.evaluator.audit.images import AuditImages, FileFacts, read_file_facts
from services.evaluator.audit.sides import Sides, select_sides
from services.evaluator.features.reading import SizePx, read_gray
from services.evaluator.metrics.selection import Caution, Images
from shared.artifacts.annotations import annotated_images
from shared.artifacts.lineage import find_models, find_real_sets
from shared.artifacts.store import EVERYONE, Artifact, ArtifactStore
from shared.database import get_database
from shared.jobs.runner import Execution
from shared.objects import ObjectStore
from shared.progress import Progress


class StepProgress:
    """A Progress that counts one step, whatever its own units, as a part of a shard.

    Args:
        progress: of the shard.
        start: units of the shard that are done before the step.
        span: units of the shard that the step is worth.
    """

    def __init__(self, progress: Progress, start: int, span: int) -> None:
        self._progress, self._start, self._span = progress, start, span
        self.note, self.raise_if_cancelled = progress.note, progress.raise_if_cancelled

    def update(self, done: int, total: int) -> None:
        """Record that `done` of the step's `total` units are finished."""
        units = self._start + self._span * min(done, total) // max(total, 1)
        self._progress.update(units, self._start + self._span)


def open_sides(artifacts: ArtifactStore, request: dict[str, Any], owner: str) -> dict[str, Sides]:
    """The images of each class that the request compares, with people's corrections."""
    synthetic, real = (_images(artifacts, request[side], owner) for side in ("synthetic", "real"))
    return select_sides(synthetic, real, tumour_class=request["class"], split=request["split"])


def _images(artifacts: ArtifactStore, set_id: str, owner: str) -> Images:
    image_set = artifacts.get(set_id, owner, "image_set")
    return annotated_images(get_database(), image_set, artifacts.manifest(image_set)["images"])


def load_images(objects: ObjectStore, images: Images, size_px: SizePx, progress: Progress) -> AuditImages:
    """The images decoded, at one size, with what is known of their files.

    Raises:
        ImageUnreadable, ColourImages: a stored image cannot be used.
    """
    width, height = size_px
    pixels_u8 = np.empty((len(images), height, width), dtype=np.uint8)
    files = []
    for row, image in enumerate(images):
        progress.raise_if_cancelled()
        data = objects.get_blob(image["sha256"])
        files.append(_with_native_size(read_file_facts(data, image["name"]), image))
        pixels_u8[row] = read_gray(data, image["name"], size_px)
        progress.update(row + 1, len(images))
    return AuditImages([image["name"] for image in images], pixels_u8, files, [image["plane"] for image in images])


def _with_native_size(facts: FileFacts, image: dict[str, Any]) -> FileFacts:
    """The facts with the size of the image that this one was prepared from, which preprocessing leaves in manifests."""
    native = (image.get("parameters") or {}).get("file") or {}
    if "width" not in native or "height" not in native:
        return facts
    return replace(facts, native_width=native["width"], native_height=native["height"])


def warn_of_training_set(artifacts: ArtifactStore, synthetic: Artifact, real: Artifact, owner: str) -> list[Caution]:
    """Warnings if the synthetic set's model, or one that it began with, learned other images than the real set's."""
    cautions: dict[str, Caution] = {}
    models = [(model, f"come from {model.id}") for model in find_models(artifacts, synthetic, owner)]
    seen = {model.id for model, _ in models}
    while models:
        model, origin = models.pop(0)
        caution = _judge_training(artifacts, model, origin, real, owner)
        if caution is not None:
            cautions.setdefault(caution.code, caution)
        begun_with = [start for start in find_models(artifacts, model, owner) if start.id not in seen]
        seen |= {start.id for start in begun_with}
        models += [(start, f"come from a model that began with {start.id}") for start in begun_with]
    return list(cautions.values())


def _judge_training(
    artifacts: ArtifactStore, model: Artifact, origin: str, real: Artifact, owner: str
) -> Caution | None:
    """A warning if a model was trained on other images than those of the real set, or on unknown ones."""
    if model.owner == EVERYONE:
        sentence = (
            f"The synthetic images {origin}, which came with the platform: its card names the images it was trained "
            "on, and copies of those that are not in the real set cannot be found."
        )
        return Caution("model_was_shipped", sentence)
    trained_on = [parent for parent in artifacts.manifest(model)["parents"] if parent.startswith("set-")]
    if not trained_on:
        sentence = (
            f"The synthetic images {origin}, which was imported: the images it was trained on are not known here, and "
            "copies of those that are not in the real set cannot be found."
        )
        return Caution("model_of_unknown_images", sentence)
    if not find_real_sets(artifacts, trained_on, owner) & find_real_sets(artifacts, [real.id], owner):
        sentence = (
            f"The synthetic images {origin}, which was trained on {trained_on[0]}, not on {real.id}: copies of images "
            "that are not in the real set cannot be found."
        )
        return Caution("model_of_other_images", sentence)
    return None


def put_json(execution: Execution, value: Any) -> str:
    """Store a JSON value; its hash."""
    return execution.objects.put_blob(json.dumps(value, allow_nan=False, separators=(",", ":")).encode())


def get_json(execution: Execution, sha256: str) -> Any:
    """The JSON value of this hash."""
    return json.loads(execution.objects.get_blob(sha256))
