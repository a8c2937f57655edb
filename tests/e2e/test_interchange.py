"""A model leaves the platform as a zip and comes back as another, by the command line; both draw the same images."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shared.client import SynthMRI
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
    brought = ("--preset", "tiny-32", "--class", "glioma", "--config", tmp_path / "config.json")
    code, answer, said = synthmri("import-model", tmp_path / "weights.safetensors", *brought)
    assert code == 0, said
    again = made(json.loads(answer), "model")
    assert client.model(again)["card"]["imported"]["file"] == "weights.safetensors"
    assert hashes(client, again) == hashes(client, glioma_model)


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
