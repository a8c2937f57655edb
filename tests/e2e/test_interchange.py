"""A model leaves the platform as a zip and comes back as another, by the command line; both draw the same images."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shared.client import SynthMRI
from tests.e2e.embedded_platform import PROJECT, EmbeddedPlatform, made

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
