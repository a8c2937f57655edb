"""Probabilities depend on the image alone, whatever the batch, the thread or the backend."""

import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.classifier.inference import (
    ImageUnreadable,
    TrainedNetwork,
    decode_gray,
    extract_features,
    fit_size,
    load_network,
    predict,
)
from services.classifier.network import build_network, weights_to_bytes
from services.classifier.presets import NetworkConfig
from services.classifier.serving import UNPREPARED
from services.preprocess.pipeline import prepare_image

Shapes = tuple[NDArray[np.uint8], NDArray[np.int64]]
CONFIG = NetworkConfig("vgg19-compact", 32, "pm1")


@pytest.fixture(scope="module")
def trained() -> TrainedNetwork:
    """Random weights with every normalisation off its initial state, so that a swapped variable would show."""
    network = build_network(CONFIG)
    rng = np.random.default_rng(5)
    for variable in network.weights:
        if "norm" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    network.get_layer("probabilities").kernel.assign(rng.normal(0, 0.2, (128, 4)))
    return TrainedNetwork(network, CONFIG)


def test_probabilities_are_a_distribution(trained: TrainedNetwork, shapes: Shapes) -> None:
    probabilities = predict(trained, shapes[0])
    assert probabilities.shape == (64, 4)
    assert probabilities.dtype == np.float32
    # A float32 softmax of four terms: a few units in the last place.
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert extract_features(trained, shapes[0]).shape == (64, 128)


def test_an_image_gets_the_same_numbers_whatever_its_neighbours(trained: TrainedNetwork, shapes: Shapes) -> None:
    images = shapes[0]
    together = predict(trained, images)
    # A place in the batch may be added in another order (seen with AVX2): float32 rounding, far below any difference.
    assert np.allclose(predict(trained, images[:5]), together[:5], rtol=0, atol=1e-6)
    assert np.allclose(predict(trained, images[::-1]), together[::-1], rtol=0, atol=1e-6)
    assert np.abs(np.diff(together, axis=0)).max(axis=1).min() > 1e-4
    assert predict(trained, images[:1], batch_size=1) == pytest.approx(together[:1], abs=1e-6)


def test_threads_get_the_same_numbers(trained: TrainedNetwork, shapes: Shapes) -> None:
    alone = [predict(trained, shapes[0][k : k + 1], batch_size=1) for k in range(24)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda k: predict(trained, shapes[0][k : k + 1], batch_size=1), range(24)))
    assert np.array_equal(alone, together)


def test_no_images_give_no_rows(trained: TrainedNetwork) -> None:
    assert predict(trained, np.empty((0, 32, 32), np.uint8)).shape == (0, 4)


def test_config_and_bytes_give_the_same_network(trained: TrainedNetwork, shapes: Shapes) -> None:
    config = {**dataclasses.asdict(CONFIG), "recipe": {"name": "rigorous"}}
    loaded = load_network(config, weights_to_bytes(trained.network))
    assert np.array_equal(predict(loaded, shapes[0][:3]), predict(trained, shapes[0][:3]))


def test_the_torch_backend_gives_the_same_probabilities(
    trained: TrainedNetwork, shapes: Shapes, tmp_path: Path
) -> None:
    (tmp_path / "weights").write_bytes(weights_to_bytes(trained.network))
    np.save(tmp_path / "images.npy", shapes[0][:8])
    script = (
        "import json, sys, numpy as np, keras\n"
        "from services.classifier.inference import extract_features, load_network, predict\n"
        "folder = sys.argv[1]\n"
        "assert keras.backend.backend() == 'torch'\n"
        "trained = load_network(json.loads(sys.argv[2]), open(folder + '/weights', 'rb').read())\n"
        "images = np.load(folder + '/images.npy')\n"
        "np.savez(folder + '/out.npz', p=predict(trained, images), f=extract_features(trained, images))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    arguments = [sys.executable, "-c", script, str(tmp_path), json.dumps(dataclasses.asdict(CONFIG))]
    subprocess.run(arguments, check=True, env=environment, cwd=Path(__file__).parents[3])
    with np.load(tmp_path / "out.npz") as torch_says:
        assert torch_says["p"] == pytest.approx(predict(trained, shapes[0][:8]), abs=1e-4)
        assert torch_says["f"] == pytest.approx(extract_features(trained, shapes[0][:8]), rel=1e-3, abs=1e-4)


def test_fit_size_keeps_a_constant_and_averages_when_it_shrinks() -> None:
    assert (fit_size(np.full((50, 70), 9, np.uint8), 32) == 9).all()
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 200
    assert set(np.unique(fit_size(checks.astype(np.uint8), 32))) == {100}
    assert fit_size(np.zeros((8, 8), np.uint8), 32).shape == (32, 32)


def test_decode_gray_reads_what_was_stored_and_refuses_the_rest(shapes: Shapes) -> None:
    stored = cv2.imencode(".png", shapes[0][0])[1].tobytes()
    assert np.array_equal(decode_gray(stored), shapes[0][0])
    with pytest.raises(ImageUnreadable):
        decode_gray(b"not an image")


@pytest.mark.parametrize(("ending", "kind"), [(".png", np.uint16), (".tiff", np.uint16), (".tiff", np.float32)])
def test_more_than_eight_bits_are_seen_as_classify_sees_them(ending: str, kind: type, shapes: Shapes) -> None:
    scan = shapes[0][0].astype(kind) * 16  # the levels of a 12-bit scan
    data = cv2.imencode(ending, scan)[1].tobytes()
    recipe = {**UNPREPARED, "size_px": 32}
    assert np.array_equal(fit_size(decode_gray(data), 32), prepare_image(data, recipe))
    assert decode_gray(data).max() == 255


def test_a_long_prediction_shows_that_it_goes_on(trained: TrainedNetwork, shapes: Shapes) -> None:
    calls: list[None] = []
    predict(trained, shapes[0][:9], batch_size=4, check=lambda: calls.append(None))
    assert len(calls) == 3
