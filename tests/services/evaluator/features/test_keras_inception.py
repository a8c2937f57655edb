"""The study's network gives what the study's own lines of Keras give, from a file on disk to features."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load, save

from services.evaluator.features.extraction import WeightsOfAnotherNetwork
from services.evaluator.features.keras_inception import STUDY_READING, KerasInceptionExtractor
from services.evaluator.features.reading import read_gray
from services.evaluator.weights.conversion import ConversionError, convert_keras_inception
from tests.services.evaluator.seeded_weights import keras_inception_h5, vgg19_h5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published() -> bytes:
    if "keras" not in sys.modules:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KERAS_BACKEND", "torch")
            import keras  # noqa: F401
    return keras_inception_h5()


@pytest.fixture(scope="module")
def weights(published: bytes) -> bytes:
    return convert_keras_inception(published)


def test_features_are_those_of_the_studys_lines(tmp_path: Path, published: bytes, weights: bytes) -> None:
    import keras

    # A file as the study had them: 256 px, JPEG, RGB with R = G = B.
    gray = np.kron(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8), np.ones((16, 16), np.uint8))
    path = tmp_path / "glioma_1.jpg"
    Image.fromarray(gray).convert("RGB").save(path, quality=95)
    (tmp_path / "published.h5").write_bytes(published)
    network = keras.applications.InceptionV3(weights=None, include_top=True)
    network.load_weights(tmp_path / "published.h5")
    pooled = keras.Model(network.input, network.get_layer("avg_pool").output)
    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(299, 299)))
    inputs = keras.applications.inception_v3.preprocess_input(image[None].copy())
    expected_features, expected_probabilities = pooled.predict_on_batch(inputs), network.predict_on_batch(inputs)

    extractor = KerasInceptionExtractor(weights, sha256="seeded")
    found = extractor.extract_batch(read_gray(path.read_bytes(), "glioma_1", STUDY_READING)[None])
    assert found.features.shape == (1, 2048)
    # Another batch shape rounds float32 sums of thousands of terms otherwise.
    assert found.features == pytest.approx(expected_features, abs=2e-5 * float(np.abs(expected_features).max()))
    assert found.probabilities == pytest.approx(expected_probabilities, abs=1e-5)
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_other_weights_are_refused(weights: bytes) -> None:
    arrays = load(weights)
    arrays.pop("000/kernel")
    with pytest.raises(WeightsOfAnotherNetwork, match="1 of 378 arrays"):
        KerasInceptionExtractor(save(arrays), sha256="")
    with pytest.raises(WeightsOfAnotherNetwork, match="no safetensors"):
        KerasInceptionExtractor(b"nothing of the kind", sha256="")
    for data in (b"no h5 file", vgg19_h5()):
        with pytest.raises(ConversionError):
            convert_keras_inception(data)
