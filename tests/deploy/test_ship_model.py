"""Only a model that draws every class becomes the one that comes with the platform."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.ship_model import ModelLacksClasses, ship_model
from services.generator.models.checkpoints import write_weights
from services.generator.models.preset import Preset
from services.generator.shipped_model import FACTS, WEIGHTS
from shared.client import SynthMRI
from tests.services.generator.micro import MICRO, conditional, random_network


def platform_with(preset: Preset) -> SynthMRI:
    """A client of a platform that has one model."""

    def export_model(_: str, archive: Path) -> None:
        weights = write_weights(random_network(0, preset.unet).state_dict(), preset)
        with zipfile.ZipFile(archive, "w") as exported:
            exported.writestr("weights.safetensors", weights)

    manifest: dict[str, Any] = {
        "name": "micro", "config": {"preset": preset.model_dump(mode="json")}, "card": {"parameters": 1, "notes": []},
        "code_version": "1", "library_versions": {}, "seed": 0,
    }  # fmt: skip
    return cast("SynthMRI", SimpleNamespace(model=lambda _: manifest, export_model=export_model))


def test_a_model_of_all_classes_is_shipped_with_its_card(tmp_path: Path) -> None:
    n_bytes = ship_model(platform_with(conditional(MICRO)), "mdl-1", {"fid": 1}, {"guidance": 2.0}, folder=tmp_path)
    assert (tmp_path / WEIGHTS).stat().st_size == n_bytes
    facts = json.loads((tmp_path / FACTS).read_text())
    assert facts["config"]["preset"]["guidance"] == 2.0
    assert (facts["card"]["fid"], "notes" in facts["card"]) == (1, False)


@pytest.mark.parametrize(
    ("classes", "missing"), [((), "glioma, meningioma, notumor, pituitary"), (("glioma", "notumor"), "meningioma, pit")]
)
def test_a_model_of_fewer_classes_is_refused_and_nothing_is_written(
    tmp_path: Path, classes: tuple[str, ...], missing: str
) -> None:
    preset = MICRO.replace({"classes": classes}) if classes else MICRO
    with pytest.raises(ModelLacksClasses, match=f"{missing}.* without a `class`"):
        ship_model(platform_with(preset), "mdl-1", {}, {}, folder=tmp_path / "shipped")
    assert list(tmp_path.iterdir()) == []
