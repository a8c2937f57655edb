"""The model that comes with the platform: weights and card lie in `shipped/`; registered, it belongs to everyone.

It draws all four classes until a team has trained, imported or kept a model of its own. Without the folder there is
none, and `POST /generate` asks for a training first.
"""

import json
from pathlib import Path
from typing import Any, Final

from shared.artifacts.store import EVERYONE, Artifact, DraftArtifact, get_artifacts
from shared.errors import SynthMRIError
from shared.logs import get_log
from shared.objects import get_objects

FOLDER: Final = Path(__file__).with_name("shipped")
WEIGHTS: Final = "weights.safetensors"
FACTS: Final = "model.json"

log = get_log(__name__)


def register_shipped_model() -> Artifact | None:
    """The artifact of the shipped model, made if this platform has none yet with these weights and this preset.

    Other values for requests that name none, such as steps, make another model: what was drawn keeps its own. Two
    processes that start at the same moment may make two of them, with the same weights: nobody is hurt.

    Returns:
        It, or None where the folder is absent.

    Raises:
        StorageUnavailable, DatabaseUnavailable: it cannot be stored now.
    """
    if not (FOLDER / FACTS).exists():
        return None
    facts: dict[str, Any] = json.loads((FOLDER / FACTS).read_bytes())
    artifacts = get_artifacts()
    for model in artifacts.list(EVERYONE, "model", kind="diffusion")[0]:
        same_weights = model.summary.get("shipped") == facts["weights_sha256"]
        if same_weights and artifacts.manifest(model)["config"] == facts["config"]:
            return model
    weights = get_objects().put_blob((FOLDER / WEIGHTS).read_bytes())
    preset = facts["config"]["preset"]
    summary = {
        "preset": preset["name"],
        "size_px": preset["size_px"],
        "parameters": facts["card"]["parameters"],
        "classes": preset["classes"],
        "shipped": weights,
    }
    body = {"objects": {"weights": weights}, "config": facts["config"], "card": facts["card"], "seed": facts["seed"]}
    model = artifacts.create(DraftArtifact("model", "diffusion", facts["name"], body, summary), owner=EVERYONE)
    log.info("shipped_model_registered", model=model.id)
    return model


def register_at_start() -> None:
    """Register the shipped model; where stores do not answer yet, `POST /generate` does it later."""
    try:
        register_shipped_model()
    except SynthMRIError as error:
        log.warning("shipped_model_not_registered", code=error.code)
