"""Extractors: structure, independence of batch size and neighbours, and torch-fidelity's own numbers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from services.evaluator.features.extraction import (
    ClassifierExtractor,
    ImageFeatures,
    InceptionExtractor,
    WeightsOfAnotherNetwork,
    extract_features,
)
from services.evaluator.metrics.inception_score import inception_score
from services.evaluator.metrics.kernel_distance import kernel_distance, polynomial_kernel
from services.evaluator.metrics.samples import TooFewImages
from shared.progress import Cancelled, NoProgress
from tests.services.evaluator.seeded_weights import inception_pth, inception_state


@pytest.fixture(scope="module")
def weights() -> bytes:
    return save(inception_state())


@pytest.fixture(scope="module")
def extractor(weights: bytes) -> InceptionExtractor:
    return InceptionExtractor(weights, sha256="seeded", device="cpu", batch_size=2)


def blobs(n: int, seed: int = 0, side: int = 32) -> NDArray[np.uint8]:
    """Smooth gray images, (n, side, side) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(n, 4, 4), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, side // 4, side // 4), dtype=np.uint8))


def extract(extractor: InceptionExtractor | ClassifierExtractor, images: NDArray[np.uint8]) -> ImageFeatures:
    return extract_features(extractor, images, progress=NoProgress(), done_before=0, total=len(images))


def test_shapes_and_probabilities(extractor: InceptionExtractor) -> None:
    found = extract(extractor, blobs(3))
    assert found.features.shape == (3, 2048)
    assert found.features.dtype == np.float32
    assert found.probabilities.shape == (3, 1008)
    assert found.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert found.features.std(axis=0).max() > 0


def test_features_depend_on_the_image_alone(extractor: InceptionExtractor) -> None:
    images = blobs(3)
    together = extract(extractor, images)
    backwards = extract(extractor, images[::-1])
    assert np.array_equal(together.features, backwards.features[::-1])
    assert np.array_equal(extract(extractor, images[1:2]).features[0], together.features[1])


def test_another_batch_size_changes_rounding_only(weights: bytes, extractor: InceptionExtractor) -> None:
    images = blobs(3)
    other = InceptionExtractor(weights, sha256="seeded", device="cpu", batch_size=3)
    expected = extract(extractor, images).features
    # float32 sums of other lengths of vector: about 1e-6 of the largest activation after 48 layers.
    assert extract(other, images).features == pytest.approx(expected, abs=2e-5 * float(np.abs(expected).max()))


@pytest.mark.slow
def test_equals_torch_fidelity_from_images_to_scores(tmp_path: Path, extractor: InceptionExtractor) -> None:
    import torch_fidelity
    from torch.utils.data import Dataset

    class Tensors(Dataset[torch.Tensor]):
        def __init__(self, images: NDArray[np.uint8]) -> None:
            self.images = torch.from_numpy(images).unsqueeze(1).expand(-1, 3, -1, -1)

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.images[index]

    path = tmp_path / "seeded.pth"
    path.write_bytes(inception_pth())
    generated, reference = blobs(6, seed=1), blobs(8, seed=2)
    expected = torch_fidelity.calculate_metrics(
        input1=Tensors(generated),
        input2=Tensors(reference),
        feature_extractor_weights_path=str(path),
        kid=True,
        isc=True,
        kid_subset_size=5,
        kid_subsets=4,
        isc_splits=2,
        batch_size=2,
        cuda=False,
        verbose=False,
        cache=False,
        save_cpu_ram=True,
    )
    ours = extract(extractor, generated), extract(extractor, reference)
    kid = kernel_distance(ours[0].features, ours[1].features, subset_size=5, n_subsets=4, seed=2020)
    score = inception_score(ours[0].probabilities, n_splits=2, seed=2020)
    # torch-fidelity sums kernels in float32 and takes differences of those sums: off by some ulp of the largest kernel.
    ulp = float(np.finfo(np.float32).eps * polynomial_kernel(ours[1].features, ours[1].features).max())
    assert kid.subset_mean == pytest.approx(expected["kernel_inception_distance_mean"], abs=8 * ulp)
    assert score.split_mean == pytest.approx(expected["inception_score_mean"], rel=1e-5)


def test_other_weights_are_refused() -> None:
    state = inception_state()
    del state["fc.weight"]
    with pytest.raises(WeightsOfAnotherNetwork, match=r"Missing key.*fc\.weight"):
        InceptionExtractor(save(state), sha256="", device="cpu")
    with pytest.raises(WeightsOfAnotherNetwork):
        InceptionExtractor(b"not safetensors at all", sha256="", device="cpu")


class Steps(NoProgress):
    """Counts what an extraction reports, and cancels before a given batch."""

    def __init__(self, cancel_before: int = 10**9) -> None:
        self.updates: list[tuple[int, int]] = []
        self.asked = 0
        self.cancel_before = cancel_before

    def update(self, done: int, total: int) -> None:
        self.updates.append((done, total))

    def raise_if_cancelled(self) -> None:
        self.asked += 1
        if self.asked > self.cancel_before:
            raise Cancelled


def mean_classifier() -> ClassifierExtractor:
    def means(images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        return images_u8.mean(axis=(1, 2), dtype=np.float32)[:, None]

    def uniform(images_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(images_u8), 4), 0.25, np.float32)

    return ClassifierExtractor(sha256="c", extract=means, predict=uniform, batch_size=3)


def test_progress_counts_images_over_the_whole_job() -> None:
    steps = Steps()
    extract_features(mean_classifier(), blobs(7), progress=steps, done_before=10, total=20)
    assert steps.updates == [(13, 20), (16, 20), (17, 20)]


def test_a_cancelled_extraction_reads_no_further_image() -> None:
    read = 0

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal read
        for image in blobs(30):
            read += 1
            yield image

    with pytest.raises(Cancelled):
        extract_features(mean_classifier(), images(), progress=Steps(cancel_before=1), done_before=0, total=30)
    assert read == 6  # the batch that was measured, and the one that was not


def test_order_is_kept_and_nothing_is_refused() -> None:
    images = blobs(7)
    assert np.array_equal(extract(mean_classifier(), images).features[:, 0], images.mean(axis=(1, 2), dtype=np.float32))
    with pytest.raises(TooFewImages):
        extract(mean_classifier(), images[:0])
