"""Heat maps show what the network's answer depends on."""

import cv2
import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from services.classifier.explain import contribution_map, draw_heat_map, explain, occlusion_map
from services.classifier.inference import TrainedNetwork, predict
from services.classifier.network import as_input, build_network
from services.classifier.presets import NetworkConfig

Shapes = tuple[NDArray[np.uint8], NDArray[np.int64]]


def test_the_occlusion_map_is_the_drop_of_the_probability(shapes: Shapes) -> None:
    config = NetworkConfig("vgg19-compact", 32, "pm1")
    trained = TrainedNetwork(build_network(config), config)
    image = shapes[0][0]
    drops = occlusion_map(trained, image, 0)
    assert drops.shape == (8, 8)
    assert np.array_equal(explain(trained, image, 0), drops)
    hidden = image.copy()
    hidden[4:8, 12:16] = round(float(image.mean()))
    belief = predict(trained, np.stack([image, hidden]))[:, 0]
    assert drops[1, 3] == pytest.approx(belief[0] - belief[1], abs=1e-6)


def test_contributions_add_up_to_the_logit(shapes: Shapes) -> None:
    config = NetworkConfig("vgg19", 64, "vgg")
    network = build_network(config)
    trained = TrainedNetwork(network, config)
    image = np.kron(shapes[0][0], np.ones((2, 2), np.uint8))
    contributions = contribution_map(trained, image, 2)
    assert contributions.shape == (2, 2)
    assert np.array_equal(explain(trained, image, 2), contributions)
    # Biases are zero in a fresh network, so the ReLU head is linear around the image and the sum is the logit.
    logits = keras.ops.log(network.predict_on_batch(as_input(image[None], config)))[0]
    other = contribution_map(trained, image, 0).sum()
    assert contributions.sum() - other == pytest.approx(float(logits[2] - logits[0]), rel=1e-3, abs=1e-5)


def test_the_drawing_is_warm_where_the_map_is_positive() -> None:
    image = np.full((64, 64), 100, np.uint8)
    speaks_for = np.zeros((8, 8), np.float32)
    speaks_for[0, 0], speaks_for[7, 7] = 1, -1
    drawn = cv2.imdecode(np.frombuffer(draw_heat_map(image, speaks_for), np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (256, 256, 3)
    assert drawn[10, 10, 2] > 150
    assert drawn[250, 250].tolist() == [100, 100, 100]
