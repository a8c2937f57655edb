"""The measurements behind the numbers in the README: `make bench` writes them to bench-output/bench.md.

Each speed is a ratio against something run in the same minute, because machines differ and are noisy.
"""

import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.bench.timing import fastest_s
from tests.e2e.embedded_platform import make_platform, remove_platform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_distance_of_600_and_867_images(table: list[tuple[str, str, str]]) -> None:
    from services.evaluator.metrics.frechet import frechet_distance

    rng = np.random.default_rng(0)
    generated, reference = rng.normal(size=(600, 2048)), rng.normal(size=(867, 2048))
    seconds = fastest_s(lambda: frechet_distance(generated, reference))
    table.append(("Fréchet distance, 600 against 867 images, 2,048 features", f"{seconds:.2f} s", "0.5 s"))
    assert seconds < 2


def test_two_hundred_resamples_of_600_and_867_images(table: list[tuple[str, str, str]]) -> None:
    from services.evaluator.metrics.frechet import resampled_frechet_distances

    rng = np.random.default_rng(0)
    generated, reference = rng.normal(size=(600, 2048)), rng.normal(size=(867, 2048))
    seconds = fastest_s(lambda: resampled_frechet_distances(generated, reference, n_resamples=200, seed=0), 1)
    table.append(("its interval from 200 bootstrap resamples", f"{seconds:.1f} s", "30 s"))
    assert seconds < 60


def test_classify_against_the_bare_network(files: list[bytes], table: list[tuple[str, str, str]]) -> None:
    from services.classifier.inference import TrainedNetwork, predict
    from services.classifier.network import build_network
    from services.classifier.presets import NetworkConfig
    from services.preprocess.pipeline import prepare_image

    config = NetworkConfig(architecture="vgg19-compact", size_px=64, input_space="pm1")
    trained = TrainedNetwork(build_network(config), config)
    prepared = [prepare_image(data, "rigorous") for data in files[:60]]

    def p95_ms(calls: list[Callable[[], object]]) -> float:
        return float(np.percentile([fastest_s(call, 1) * 1000 for call in calls], 95))

    predict(trained, prepared[0][None], batch_size=1)
    bare = p95_ms([lambda image=image: predict(trained, image[None], batch_size=1) for image in prepared])  # type: ignore[misc]
    whole = p95_ms(
        [
            lambda data=data: predict(trained, prepare_image(data, "rigorous")[None], batch_size=1)  # type: ignore[misc]
            for data in files[:60]
        ]
    )
    row = f"{whole / bare:.2f} x ({whole:.0f} ms against {bare:.0f} ms)"
    table.append(("classify one file, p95, against the bare network", row, "1.5 x"))
    assert whole / bare < 5


def test_start_and_idle_memory(table: list[tuple[str, str, str]]) -> None:
    started = make_platform()
    try:
        began = time.perf_counter()
        started.up()
        seconds = time.perf_counter() - began
        processes = started.status()["processes"]
        memory_mib = sum(process["memory_mib"] or 0.0 for process in processes)
    finally:
        remove_platform(started)
    table.append((f"`make up` to ready, {len(processes)} processes, first start", f"{seconds:.1f} s", "20 s"))
    table.append(("idle memory of all of them together (PSS)", f"{memory_mib:.0f} MiB", ""))
    assert seconds < 120
