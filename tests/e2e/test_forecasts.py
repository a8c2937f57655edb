"""What a job says of its end after a tenth of its work, and who waits for whom."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.client import SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform
from tests.support.workers import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

TOLERANCE = 0.2
NOISE_S = 1.5
"""What the other processes of a small machine, and the looks, add to a job of some ten seconds."""


def follow(client: SynthMRI, job_id: str) -> list[tuple[float, dict[str, Any]]]:
    """The job at every look, with the time, until it has ended."""
    seen = []
    while True:
        job = client.job(job_id)
        seen.append((time.monotonic(), job))
        if job["finished_at"]:
            assert job["status"] == "succeeded", job["error"]
            return seen
        time.sleep(0.1)


def check_forecast(seen: list[tuple[float, dict[str, Any]]], begun: int = 0) -> None:
    """From a tenth to a third of the work after `begun`, the forecast end is the real one.

    A forecast cannot know that others will leave the machine less or more later on: as much as the pace changed after
    the look, measured here, is allowed beside.
    """
    total, end = seen[-1][1]["progress"]["total"], seen[-1][0]
    looks = [(now, (job["progress"]["done"] - begun) / (total - begun), job["eta_s"]) for now, job in seen]
    start, first, _ = next(look for look in looks if look[1] > 0)
    errors, drifts = [], []
    for now, share, eta_s in looks:
        if 0.1 <= share < 1 / 3 and share > first:
            left_s = end - now
            drift = abs(left_s / (1 - share) / ((now - start) / (share - first)) - 1)
            errors.append(eta_s / left_s - 1)
            drifts.append(drift)
            assert abs(eta_s - left_s) <= (TOLERANCE + drift) * left_s + NOISE_S, f"{share:.2f} done"
    print(f"{end - seen[0][0]:.1f} s; forecast {errors[0]:+.0%} after a tenth, then {min(errors):+.0%} to", end=" ")
    print(f"{max(errors):+.0%}; the pace itself changed by up to {max(drifts):.0%}")


def hold_once(attempt: Callable[[], None], n_attempts: int = 3) -> None:
    """What is said must hold in one of three runs: nobody can foresee what else a shared machine begins to do."""
    for _ in range(n_attempts - 1):
        try:
            attempt()
        except AssertionError as missed:
            print(f"missed: {missed}")
        else:
            return
    attempt()


def renew(platform: EmbeddedPlatform, worker: str) -> None:
    """Kill a worker, so that its next job begins with the imports."""
    before = platform.pid_of(worker)
    assert before
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: platform.pid_of(worker) not in (0, before))


def test_the_end_of_a_drawing_on_a_cold_worker(platform: EmbeddedPlatform, client: SynthMRI, glioma_model: str) -> None:
    def draw() -> None:
        renew(platform, "diffusion-sample-worker")
        job = client.generate("glioma", 320, model=glioma_model, seed=1, steps=12)
        check_forecast(follow(client, job["id"]))

    hold_once(draw)


def test_the_end_of_a_training_on_a_cold_worker_that_is_killed(
    platform: EmbeddedPlatform, client: SynthMRI, prepared: str
) -> None:
    def train() -> None:
        renew(platform, "diffusion-train-worker")
        job_id = client.train_diffusion(prepared, "glioma", preset="tiny-32", epochs=60)["id"]
        wait_for(lambda: client.job(job_id)["progress"]["done"] > 20, timeout_s=120)
        time.sleep(2.5)  # a checkpoint
        renew(platform, "diffusion-train-worker")
        wait_for(lambda: client.job(job_id)["progress"]["done"] > 0)
        begun = client.job(job_id)["progress"]["done"]
        check_forecast(follow(client, job_id), begun)

    hold_once(train)


def first_images_s(client: SynthMRI, model: str) -> float:
    """Seconds from asking for a batch of images to having it."""
    started = time.monotonic()
    client.wait(client.generate("glioma", 16, model=model, seed=2, steps=4)["id"])
    return time.monotonic() - started


def test_a_training_does_not_hold_up_a_drawing(client: SynthMRI, prepared: str, glioma_model: str) -> None:
    first_images_s(client, glioma_model)  # the imports
    alone_s = min(first_images_s(client, glioma_model) for _ in range(2))
    training = client.train_diffusion(prepared, "meningioma", preset="tiny-32", epochs=20_000)["id"]
    try:
        wait_for(lambda: client.job(training)["progress"]["done"] > 0, timeout_s=120)
        beside_s = min(first_images_s(client, glioma_model) for _ in range(2))
        assert client.job(training)["status"] == "running"
    finally:
        client.cancel(training)
    print(f"16 images alone {alone_s:.2f} s, beside a training {beside_s:.2f} s")
    assert beside_s < 4 * alone_s + 2  # The cores are shared, the queue is not.


def test_two_drawings_go_on_side_by_side(client: SynthMRI, glioma_model: str) -> None:
    def draw(n: int, seed: int) -> str:
        return str(client.generate("glioma", n, model=glioma_model, seed=seed, steps=5)["id"])

    def done(job_id: str) -> int:
        return int(client.job(job_id)["progress"]["done"])

    def draw_three() -> None:
        first, second = draw(600, 3), draw(600, 4)
        try:
            wait_for(lambda: done(second) >= 160, timeout_s=120)
            assert abs(done(first) - done(second)) <= 96  # shards of 32, and what is drawn between two looks
            short, before = draw(16, 5), done(first) + done(second)
            wait_for(lambda: client.job(short)["finished_at"], timeout_s=120)  # looks more often than `client.wait`
            assert done(first) + done(second) - before <= 5 * 32
        finally:
            for job_id in (first, second):
                client.wait(job_id)

    hold_once(draw_three)
