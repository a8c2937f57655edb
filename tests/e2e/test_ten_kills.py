"""kill -9 at ten random moments of a training and of a drawing that run side by side: both end as undisturbed ones."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.client import SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform, command_line, made
from tests.support.workers import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1500)]

N_KILLS = 10
N_IMAGES, SHARD, STEPS = 600, 16, 16
"""A shard takes longer than a look and the kill after it, so that a kill comes one shard too late at most."""


def train(client: SynthMRI, image_set: str) -> str:
    return str(client.train_diffusion(image_set, "notumor", preset="tiny-32", epochs=60, seed=4)["id"])


def draw(client: SynthMRI, model: str) -> str:
    return str(client.generate("glioma", N_IMAGES, model=model, seed=12, steps=STEPS, shard_size=SHARD)["id"])


def weights(client: SynthMRI, job_id: str) -> dict[str, str]:
    objects = client.model(made(client.wait(job_id), "model"))["objects"]
    return {name: sha256 for name, sha256 in objects.items() if "weights" in name}


def images(client: SynthMRI, job_id: str) -> list[tuple[str, str]]:
    return [(image["name"], image["sha256"]) for image in client.images(made(client.wait(job_id), "image_set"))]


def kill_worker(platform: EmbeddedPlatform, queue: str) -> None:
    """Kill the worker of this queue, as soon as it has one; asking the supervisor for its pid would take a second."""

    def kill() -> bool:
        for pid in platform.pids():
            command = command_line(pid)
            if b"celery" in command and queue.encode() in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    wait_for(kill)


def kill_at_points(
    platform: EmbeddedPlatform, client: SynthMRI, job_id: str, queue: str, chance: random.Random, apart: int
) -> list[int]:
    """Kill the worker at a random point of each tenth of the work; returns where that was, until the job succeeded.

    Each time the job must first have got further than at the kill before, by more than `apart` units, so the worker is
    back and at work. The third loss of one shard without lasting progress rightly fails a job: a drawing is let finish
    the shard that was lost, be it the one that was looked at or the next, and a training that was lost before it saved
    anything is let save.
    """
    total = client.job(job_id)["progress"]["total"]
    killed_at: list[int] = []
    for k in range(N_KILLS):
        point = total * (0.02 + 0.085 * (k + chance.random()))

        def ready(point: float = point) -> bool:
            job: dict[str, Any] = client.job(job_id)
            assert job["status"] in ("queued", "running", "succeeded"), job
            done, before = job["progress"]["done"], killed_at[-1] + apart if killed_at else 0
            if job["status"] == "succeeded":
                return True
            return done > max(point, before) and (queue != "diffusion.train" or job["attempt"] <= 1)

        wait_for(ready, timeout_s=180)
        time.sleep(chance.uniform(0, 0.3))
        kill_worker(platform, queue)
        killed = client.job(job_id)
        if killed["status"] == "succeeded":
            break
        killed_at.append(killed["progress"]["done"])
    return killed_at


def kill_ten_times(
    platform: EmbeddedPlatform, client: SynthMRI, start: Callable[[], str], queue: str, seed: int, apart: int
) -> str:
    """The id of a job that succeeds although its worker is killed ten times.

    A job that ended before the tenth kill, since the machine kept this process waiting, is followed by another.
    """
    chance = random.Random(seed)
    for _ in range(3):
        job_id = start()
        killed_at = kill_at_points(platform, client, job_id, queue, chance, apart)
        print(f"{queue} killed at {killed_at}")
        if len(killed_at) == N_KILLS:
            return job_id
    raise AssertionError("each job had ended before the tenth kill")


def test_ten_kills_change_nothing(
    platform: EmbeddedPlatform, client: SynthMRI, prepared: str, glioma_model: str
) -> None:
    quiet_training, quiet_drawing = train(client, prepared), draw(client, glioma_model)
    trained, drawn = weights(client, quiet_training), images(client, quiet_drawing)
    assert len(set(drawn)) == len({sha256 for _, sha256 in drawn}) == N_IMAGES
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    started = time.monotonic()
    begin = (lambda: train(client, prepared)), (lambda: draw(client, glioma_model))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kill_ten_times, platform, client, begin[0], "diffusion.train", seed, 0)
        second = pool.submit(kill_ten_times, platform, client, begin[1], "diffusion.sample", seed + 1, 2 * SHARD)
        training, drawing = first.result(), second.result()
    assert weights(client, training) == trained
    assert images(client, drawing) == drawn
    print(f"{time.monotonic() - started:.0f} s with {2 * N_KILLS} kills")
    for job_id, noun in ((training, "model"), (drawing, "image_set")):
        assert [item["noun"] for item in client.job(job_id)["artifacts"]] == [noun]
