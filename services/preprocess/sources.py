"""Where the stages of a preprocessing job read from and write to: the raw set, its images, and blobs of findings."""

import json
from typing import Any

from services.preprocess.reading import GrayImage, read_gray
from shared.artifacts.annotations import annotated_images
from shared.artifacts.store import Artifact
from shared.database import get_database
from shared.jobs.runner import Execution
from shared.settings import get_settings


def get_result(execution: Execution, key: str) -> Any:
    """The value that the only shard with a result of this name left in a blob."""
    return get_json(execution, next(result[key] for result in execution.results if key in result))


def raw_images(execution: Execution) -> list[dict[str, Any]]:
    """The images of the raw set, with people's corrections."""
    raw = raw_set(execution)
    return annotated_images(get_database(), raw, execution.artifacts.manifest(raw)["images"])


def raw_set(execution: Execution) -> Artifact:
    """The set that is preprocessed."""
    return execution.artifacts.get(execution.request["image_set"], execution.owner, "image_set")


def read_blob(execution: Execution, sha256: str) -> GrayImage:
    """The decoded image of this hash."""
    settings = get_settings()
    data = execution.objects.get_blob(sha256)
    return read_gray(data, max_pixels=settings.image_max_pixels, min_side_px=settings.image_min_side_px)


def put_json(execution: Execution, value: Any) -> str:
    """Store a JSON value; its hash."""
    return execution.objects.put_blob(json.dumps(value, allow_nan=False, separators=(",", ":")).encode())


def get_json(execution: Execution, sha256: str) -> Any:
    """The JSON value of this hash."""
    return json.loads(execution.objects.get_blob(sha256))
