"""A model leaves the platform as a zip and comes back as another, by the command line; both draw the same images."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from deploy.offline.draw import draw_offline
from deploy.offline.pack import pack_training
from deploy.offline.parcel import Parcel
from deploy.offline.train import train_offline
from services.generator.models.checkpoints import read_tensors
from services.generator.sampling.recipe import SamplingWishes
from services.generator.sources import ImageSetNotPreprocessed
from services.generator.starting_models import StartingModelDiffers
from services.generator.train_jobs import TrainingWishes
from shared.client import SynthMRI
from shared.progress import NoProgress
from shared.tumour import TumourClass
from tests.e2e.embedded_platform import PROJECT, EmbeddedPlatform, made
from tests.support.workers import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def synthmri(platform: EmbeddedPlatform):
    """Run `synthmri` with these words; its exit code and what it said."""

    def run(*words: object) -> tuple[int, str, str]:
        command = [sys.executable, "-c", "from gateway.cli import app; app()", *map(str, words)]
        environ = {**platform.environ, "SYNTHMRI_URL": platform.base_url, "SYNTHMRI_API_KEY": platform.api_key}
        ran = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False)
        return ran.returncode, ran.stdout, ran.stderr

    return run


def hashes(client: SynthMRI, model: str) -> list[str]:
    job = client.wait(client.generate("glioma", 16, model=model, seed=5, steps=4, precision="float32")["id"])
    return [image["sha256"] for image in client.images(made(job, "image_set"))]


def test_there_and_back(synthmri, client: SynthMRI, glioma_model: str, tmp_path: Path) -> None:
    archive = tmp_path / "model.zip"
    code, _, said = synthmri("export-model", glioma_model, "-o", archive)
    assert code == 0, said
    zipfile.ZipFile(archive).extractall(tmp_path)
    wanted = hashes(client, glioma_model)
    for words in (("--preset", "tiny-32", "--config", tmp_path / "config.json"), ()):  # Without: what the file says.
        brought = (tmp_path / "weights.safetensors", "--class", "glioma", *words)
        code, answer, said = synthmri("import-model", *brought)
        assert code == 0, said
        again = made(json.loads(answer), "model")
        assert client.model(again)["card"]["imported"]["file"] == "weights.safetensors"
        assert hashes(client, again) == wanted


def test_a_node_without_the_platform_trains_and_draws_the_same(
    client: SynthMRI, prepared: str, glioma_model: str, tmp_path: Path
) -> None:
    wishes = TrainingWishes(preset="tiny-32", epochs=2)
    parcel = Parcel.from_bytes(pack_training(client, prepared, TumourClass.GLIOMA, wishes).to_bytes())
    torch.set_num_threads(os.cpu_count() or 1)  # As a worker's; the order of sums depends on it.
    train_offline(parcel, tmp_path, NoProgress())
    client.export_model(glioma_model, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as exported:
        worker, _ = read_tensors(exported.read("weights.safetensors"))
    node, _ = read_tensors((tmp_path / "weights.safetensors").read_bytes())
    assert all(torch.equal(tensor, worker[name]) for name, tensor in node.items())
    job = client.import_model(tmp_path / "weights.safetensors")
    imported = made(client.wait(job["id"]), "model")
    card, trained_here = client.model(imported), client.model(glioma_model)
    assert (card["class"], card["parents"], card["seed"]) == ("glioma", [prepared], trained_here["seed"])
    known = ("n_images", "epochs", "updates", "final_loss", "precision", "training_planes", "n_held_out", "warnings")
    assert {name: card["card"][name] for name in known} == {name: trained_here["card"][name] for name in known}
    job = client.wait(client.calibrate(imported, n=32, settings=[{"sampler": "dpm++", "steps": 2}])["id"])
    assert job["status"] == "succeeded", job["error"]
    drawing = SamplingWishes(seed=5, steps=4, precision="float32")
    weights = (tmp_path / "weights.safetensors").read_bytes()
    draw_offline(weights, 16, tmp_path, drawing, NoProgress(), tumour_class=TumourClass.GLIOMA)
    files = sorted((tmp_path / "glioma").iterdir())
    drawn = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert drawn == hashes(client, imported) == hashes(client, glioma_model)


def test_a_training_without_the_platform_begins_with_its_model(
    client: SynthMRI, prepared: str, glioma_model: str
) -> None:
    parcel = pack_training(client, prepared, TumourClass.GLIOMA, TrainingWishes(start_from=glioma_model))
    assert parcel.preset.epochs == 2
    assert parcel.described["start_from"] == glioma_model
    assert parcel.start is not None
    raw = client.image_set(prepared)["manifest"]["parents"][0]
    with pytest.raises(ImageSetNotPreprocessed, match="preprocess it first"):
        pack_training(client, raw, TumourClass.GLIOMA, TrainingWishes())
    with pytest.raises(StartingModelDiffers, match="name the `class`"):
        pack_training(client, prepared, None, TrainingWishes(start_from=glioma_model))


def test_a_pickle_is_refused_with_the_way_to_convert_it(synthmri, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04" + bytes(1000))
    code, _, said = synthmri("import-model", tmp_path / "model.pt", "--preset", "tiny-32", "--class", "glioma")
    assert code == 1
    assert "safetensors.torch.save_file(torch.load(" in said
    assert "[checkpoint_is_pickle]" in said


def test_a_stopped_training_is_kept_and_its_images_are_drawn_again(
    synthmri, client: SynthMRI, prepared: str, tmp_path: Path
) -> None:
    training = client.train_diffusion(prepared, "glioma", preset="tiny-32", epochs=400)["id"]
    wait_for(lambda: client.job(training)["progress"]["done"] > 10, timeout_s=120)
    client.cancel(training)
    wait_for(lambda: synthmri("keep-training", training, "--name", "kept")[0] == 0, timeout_s=60)
    (kept,) = (model for model in client.models(limit=50)["items"] if model["name"] == "kept")
    drawn = made(client.wait(client.generate("glioma", 4, model=kept["id"], seed=5, steps=4)["id"]), "image_set")
    names = [image["name"] for image in client.images(drawn)]
    code, answer, said = synthmri("regenerate", drawn, "--image", names[1], "--image", names[3])
    assert code == 0, said
    assert client.report(made(json.loads(answer), "report"))["report"]["equal"] == 2
    code, _, said = synthmri("calibrate", "mdl-00000000000000000000")
    assert code == 1
    assert "model_not_found" in said
