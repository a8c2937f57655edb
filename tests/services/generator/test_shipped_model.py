"""The model that comes with the platform: there for everyone at once, behind whatever a team has made itself."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy.ship_model import halve_weights
from services.generator import shipped_model, sources
from services.generator.models.checkpoints import load_network, read_tensors, write_weights
from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
from services.generator.sampling.guidance import choose_class
from services.generator.sampling.samplers import build_sampler
from shared.artifacts.store import EVERYONE, ArtifactStore, DraftArtifact
from shared.errors import ModelNotFound, StorageUnavailable
from shared.objects import ObjectStore
from shared.progress import NoProgress
from shared.tumour import CLASS_ORDER, TumourClass
from tests.services.generator.micro import MICRO, conditional, random_network

FOUR = conditional(MICRO)
LIMIT_BYTES = 12_000_000
REAL_FOLDER = shipped_model.FOLDER


def write_folder(folder: Path, seed: int = 0, **drawing: Any) -> None:
    """A shipped model small enough for a test; `drawing` changes its facts and no byte of its weights."""
    preset = FOUR.model_dump(mode="json")
    weights = halve_weights(write_weights(random_network(seed, FOUR.unet).state_dict(), FOUR), preset)
    (folder / shipped_model.WEIGHTS).write_bytes(weights)
    facts = {
        "name": "small",
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "config": {"preset": preset | drawing, "sampling_precision": "float32"},
        "card": {"parameters": 1, "precision": "bfloat16"},
        "seed": 0,
    }
    (folder / shipped_model.FACTS).write_text(json.dumps(facts))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_folder(tmp_path)
    monkeypatch.setattr(shipped_model, "FOLDER", tmp_path)
    return tmp_path


def own_model(artifacts: ArtifactStore, owner: str) -> str:
    body: dict[str, Any] = {"config": {"preset": MICRO.model_dump(mode="json")}}
    return artifacts.create(DraftArtifact("model", "diffusion", "own", body, {}, "glioma"), owner=owner).id


@pytest.mark.services
def test_it_draws_every_class_for_a_team_that_has_no_model(
    folder: Path, artifacts: ArtifactStore, objects: ObjectStore
) -> None:
    for owner in ("first", "second"):
        drawers = {sources.find_model(owner, each, None).id for each in TumourClass}
        assert len(drawers) == 1
    (model,) = artifacts.list("third", "model")[0]
    assert (model.owner, {model.id}) == (EVERYONE, drawers)
    manifest = artifacts.manifest(model)
    assert sources.read_precision(manifest) == "float32"
    assert objects.get_blob(manifest["objects"]["weights"]) == (folder / shipped_model.WEIGHTS).read_bytes()


@pytest.mark.services
@pytest.mark.usefixtures("folder")
def test_a_model_of_ones_own_comes_first_and_others_never_see_it(artifacts: ArtifactStore) -> None:
    own = own_model(artifacts, "first")
    shipped = shipped_model.register_shipped_model()  # newer, and still behind
    assert shipped is not None
    assert sources.find_model("first", TumourClass.GLIOMA, None).id == own
    assert sources.find_model("first", TumourClass.NOTUMOR, None).id == shipped.id
    assert sources.find_model("second", TumourClass.GLIOMA, None).id == shipped.id
    with pytest.raises(ModelNotFound):
        artifacts.get(own, "second", "model")


@pytest.mark.services
@pytest.mark.parametrize("change", [{"seed": 1}, {"sampler_steps": 7}], ids=["weights", "drawing"])
def test_it_is_registered_once_and_anew_when_it_changes(
    folder: Path, artifacts: ArtifactStore, change: dict[str, int]
) -> None:
    ids = set()
    for _ in range(3):
        model = shipped_model.register_shipped_model()
        assert model is not None
        ids.add(model.id)
    assert len(ids) == 1
    write_folder(folder, **change)
    for _ in range(2):
        shipped_model.register_at_start()
    assert len(artifacts.list("team", "model")[0]) == 2
    assert sources.find_model("team", TumourClass.GLIOMA, None).id not in ids


@pytest.mark.services
def test_without_it_a_training_is_asked_for(
    tmp_path: Path, artifacts: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped_model, "FOLDER", tmp_path / "nothing")
    shipped_model.register_at_start()
    assert artifacts.list(None, "model")[0] == []
    with pytest.raises(ModelNotFound, match="POST /models/diffusion"):
        sources.find_model("team", TumourClass.GLIOMA, None)


@pytest.mark.services
@pytest.mark.usefixtures("folder")
def test_a_start_without_the_object_store_goes_on_and_the_first_request_makes_up_for_it(
    artifacts: ArtifactStore, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> str:
        raise StorageUnavailable("The object store does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(type(objects), "put_blob", lambda _, data: fail(data))
        shipped_model.register_at_start()
    assert artifacts.list(None, "model")[0] == []
    assert sources.find_model("team", TumourClass.GLIOMA, None).owner == EVERYONE


def test_halved_weights_are_the_same_to_eleven_bits() -> None:
    network = random_network(3, FOUR.unet)
    halved, facts = read_tensors(halve_weights(write_weights(network.state_dict(), FOUR), FOUR.model_dump(mode="json")))
    assert facts["preset"]["classes"] == list(CLASS_ORDER)
    for name, tensor in network.state_dict().items():
        assert halved[name].dtype == torch.float16
        # Half a unit of the 11th bit (IEEE 754 binary16); below 2^-14 the spacing is 2^-24.
        assert torch.all((halved[name].float() - tensor).abs() <= torch.clamp(tensor.abs() * 2**-11, min=2**-25))


def test_the_shipped_weights_are_the_ones_their_card_names_and_small() -> None:
    weights = (REAL_FOLDER / shipped_model.WEIGHTS).read_bytes()
    facts = json.loads((REAL_FOLDER / shipped_model.FACTS).read_text())
    assert len(weights) <= LIMIT_BYTES
    assert hashlib.sha256(weights).hexdigest() == facts["weights_sha256"]
    assert facts["config"]["preset"]["classes"] == list(CLASS_ORDER)
    assert (REAL_FOLDER / "README.md").exists()


@pytest.mark.parametrize("tumour_class", list(TumourClass))
def test_the_shipped_model_draws_a_bright_head_on_a_black_ground(tumour_class: TumourClass) -> None:
    network, preset = load_network((REAL_FOLDER / shipped_model.WEIGHTS).read_bytes())
    sampler = build_sampler("dpm++", 8, preset.schedule)
    plan = SamplingPlan(preset.size_px, preset.value_range, 1, range(2), 2, precision="float32")
    drawer = choose_class(network, preset, tumour_class, preset.model_copy(update={"guidance": 1.0}))
    drawn = [image for _, image in sample_unit_images(
        drawer, sampler, plan, progress=NoProgress(), device=torch.device("cpu")
    )]  # fmt: skip
    middle = slice(preset.size_px // 4, -preset.size_px // 4)
    for image in drawn:
        assert np.isfinite(image).all()
        corners = np.concatenate([image[:6, :6], image[:6, -6:], image[-6:, :6]]).mean()
        assert image[middle, middle].mean() > 0.15 > corners
