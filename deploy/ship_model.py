"""Make a trained model the one that comes with the platform: its weights in float16, and its card, from a running one.

    .venv/bin/python -m deploy.ship_model MODEL_ID [--measured measured.json] [--guidance 2 --sigma 0.4 6] [--steps 20]

`--measured` takes a JSON object of what was found out about the model's images, which joins the card; `--guidance`,
its interval `--sigma` and `--steps` are what a request that names none gets, where measurements speak for others than
the training's. Write the model card for people, `services/generator/shipped/README.md`, by hand.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from services.generator.shipped_model import FACTS, FOLDER, WEIGHTS
from shared.client import SynthMRI
from shared.client_environment import ApiKeyNotFound, connect
from shared.errors import InvalidInput
from shared.tumour import CLASS_ORDER

_NOT_KEPT: Final = ("warnings", "notes", "imported")  # of set and import; the card for people says what matters


class ModelLacksClasses(InvalidInput):
    """The platform's own model draws every class, and this one does not."""


def ship_model(
    client: SynthMRI, model_id: str, measured: dict[str, Any], drawing: dict[str, Any], *, folder: Path = FOLDER
) -> int:
    """Write weights and card of the model into `folder`; returns the bytes of the weights.

    Args:
        client: of the platform that has the model.
        model_id: which.
        measured: joins the card.
        drawing: fields of the preset that say how it draws, with the values to ship: guidance and its interval,
            sampler_steps.
        folder: where to.

    Raises:
        ModelLacksClasses: the model does not draw all four classes.
    """
    manifest = client.model(model_id)
    preset = {**manifest["config"]["preset"], **drawing}
    if missing := [each for each in CLASS_ORDER if each not in preset.get("classes", ())]:
        raise ModelLacksClasses(
            f"Model {model_id} is no model of all four classes: {', '.join(missing)} would not be drawn. Ship one that "
            "was trained without a `class`, on a set that has all of them."
        )
    with tempfile.TemporaryDirectory() as workplace:
        archive = Path(workplace, "model.zip")
        client.export_model(model_id, archive)
        with zipfile.ZipFile(archive) as exported:
            weights = halve_weights(exported.read("weights.safetensors"), preset)
    facts = {
        "name": manifest["name"],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        # Drawn in float32, so that a processor without bfloat16 is as fast as another and draws the same.
        "config": {**manifest["config"], "preset": preset, "sampling_precision": "float32"},
        "card": {
            **{member: value for member, value in manifest["card"].items() if member not in _NOT_KEPT},
            "code_version": manifest["code_version"],
            "library_versions": manifest["library_versions"],
            **measured,
        },
        "seed": manifest["seed"],
    }
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
    return len(weights)


def halve_weights(weights: bytes, preset: dict[str, Any]) -> bytes:
    """Safetensors bytes with every tensor in float16; half the size, and rounded to 11 bits."""
    import torch

    from services.generator.models.checkpoints import read_tensors, write_weights
    from services.generator.models.preset import Preset

    tensors, _ = read_tensors(weights)
    halved = {name: tensor.to(torch.float16) for name, tensor in tensors.items()}
    return write_weights(halved, Preset.model_validate(preset))


def main() -> None:
    """Read the command line; the platform is that of `connect`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_id")
    parser.add_argument("--measured", type=Path, help="JSON file that joins the card")
    parser.add_argument("--guidance", type=float, help="for requests that name none; the training's if left out")
    parser.add_argument("--sigma", type=float, nargs=2, metavar=("MIN", "MAX"), help="noise levels that are guided")
    parser.add_argument("--steps", type=int, help="for requests that name none; the training's if left out")
    arguments = parser.parse_args()
    low, high = arguments.sigma or (None, None)
    asked = {
        "guidance": arguments.guidance,
        "guidance_sigma_min": low,
        "guidance_sigma_max": high,
        "sampler_steps": arguments.steps,
    }
    drawing = {field: value for field, value in asked.items() if value is not None}
    measured = json.loads(arguments.measured.read_text()) if arguments.measured else {}
    try:
        with connect() as client:
            n_bytes = ship_model(client, arguments.model_id, measured, drawing)
    except (ApiKeyNotFound, ModelLacksClasses) as error:
        sys.exit(error.detail)
    sys.stdout.write(f"{FOLDER / WEIGHTS}: {n_bytes / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
