"""kill -9 of anything in the middle of the work: the job goes on, and the images are those of a quiet run."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.client import SynthMRI
from tests.e2e.embedded_platform import PROJECT, EmbeddedPlatform, made, under_way

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

N = 600
CHOICES = {"seed": 11, "steps": 4}


def start(client: SynthMRI, model: str) -> str:
    return str(client.generate("glioma", N, model=model, **CHOICES)["id"])


def hashes(client: SynthMRI, job_id: str) -> list[str]:
    images = client.images(made(client.wait(job_id), "image_set"))
    return [image["sha256"] for image in images]


@pytest.fixture(scope="module")
def undisturbed(client: SynthMRI, glioma_model: str) -> list[str]:
    drawn = hashes(client, start(client, glioma_model))
    assert len(set(drawn)) == N
    return drawn


@pytest.mark.parametrize("victim", ["diffusion-sample-worker", "redis", "gateway", "sweeper", "s3"])
def test_a_killed_process_loses_and_doubles_nothing(
    platform: EmbeddedPlatform, client: SynthMRI, glioma_model: str, undisturbed: list[str], victim: str
) -> None:
    pid = platform.pid_of(victim)  # Now, as asking takes a second.
    assert pid
    job_id = under_way(client, lambda: start(client, glioma_model), least_done=64)
    os.kill(pid, signal.SIGKILL)
    assert hashes(client, job_id) == undisturbed


@pytest.fixture
def second_sampler(platform: EmbeddedPlatform, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A second worker on the sampling queue, with the settings of the first."""
    pid = platform.pid_of("diffusion-sample-worker")
    environ = dict(line.split("=", 1) for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line)
    command = Path(f"/proc/{pid}/cmdline").read_text().strip("\0").split("\0")
    command = [word.replace("diffusion.sample@%h", "second.sample@%h") for word in command]
    with (tmp_path / "second.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=log, stderr=log)
    yield process
    process.kill()
    process.wait()


def test_two_workers_draw_what_one_draws(
    platform: EmbeddedPlatform,
    client: SynthMRI,
    glioma_model: str,
    undisturbed: list[str],
    second_sampler: "subprocess.Popen[bytes]",
) -> None:
    time.sleep(8)  # the second worker's imports
    assert hashes(client, start(client, glioma_model)) == undisturbed
    assert second_sampler.poll() is None


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_weights(
    platform: EmbeddedPlatform, client: SynthMRI, prepared: str
) -> None:

    def train() -> str:
        return str(client.train_diffusion(prepared, "pituitary", preset="tiny-32", epochs=60, seed=3)["id"])

    undisturbed = client.wait(train())
    pid = platform.pid_of("diffusion-train-worker")
    assert pid
    job_id = under_way(client, train, pause_s=2.5)  # a checkpoint
    os.kill(pid, signal.SIGKILL)
    killed = client.wait(job_id)
    weights = [client.model(made(job, "model"))["objects"]["weights"] for job in (undisturbed, killed)]
    assert weights[0] == weights[1]
