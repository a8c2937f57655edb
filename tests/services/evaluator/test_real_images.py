"""The scores on real MRIs and on the images of the published study, in a feature space that needs no weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator.features.extraction import ClassifierExtractor, ImageFeatures, extract_features
from services.evaluator.features.reading import read_gray
from services.evaluator.metrics.assessment import Floor, Metric, assess
from shared.progress import NoProgress

SIDE_PX = 64


def coarse_pixels(images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means of 8 x 8 blocks in gray levels: (n, 64) float32 in 0..255."""
    blocks = images_u8.reshape(len(images_u8), 8, SIDE_PX // 8, 8, SIDE_PX // 8)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(len(images_u8), -1)


def undecided(images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.full((len(images_u8), 4), 0.25, np.float32)


def features_of(folder: Path, n: int) -> ImageFeatures:
    paths = sorted(folder.iterdir())
    chosen = [paths[i * len(paths) // n] for i in range(n)]

    def images() -> Iterator[NDArray[np.uint8]]:
        for path in chosen:
            yield read_gray(path.read_bytes(), path.name, (SIDE_PX, SIDE_PX))

    extractor = ClassifierExtractor(sha256="pixels", extract=coarse_pixels, predict=undecided)
    return extract_features(extractor, images(), progress=NoProgress(), done_before=0, total=n)


@pytest.mark.data
def test_study_images_are_farther_from_training_images_than_testing_images_are(data_dir: Path) -> None:
    real = data_dir / "brain-tumor-mri"
    training = features_of(real / "Training" / "glioma", 150)
    testing = features_of(real / "Testing" / "glioma", 100)
    synthetic = features_of(data_dir / "ddpm-study-2400" / "glioma", 100)
    entries = assess(
        synthetic,
        training,
        Floor(testing, training, "real Testing against real Training"),
        metrics=[Metric.FID, Metric.KID],
        feature_space="classifier",
        seed=0,
        progress=NoProgress(),
    )
    for entry in entries:
        assert entry["interval"]["low"] > entry["real"]["interval"]["high"]
