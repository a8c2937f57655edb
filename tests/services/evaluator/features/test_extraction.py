"""Extractors: structure, independence of batch size and neighbours, and torch-fidelity's own numbers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch.utils.data import Dataset

from services.evaluator.features.extraction import (
    ClassifierExtractor,
    ImageFeatures,
    InceptionExtractor,
    WeightsOfAnotherNetwork,
    extract_features,
)
from services.evaluator.metrics.frechet import frechet_distance
from services.evaluator.metrics.inception_score import inception_score
from services.evaluator.metrics.kernel_distance import kernel_distance, polynomial_kernel
from services.evaluator.metrics.neighbours import neighbour_scores
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


class Tensors(Dataset[torch.Tensor]):
    """Images (n, 3, h, w) uint8 as torch-fidelity takes them."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = torch.from_numpy(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


def rgb(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(images[:, None], 3, axis=1)


@pytest.mark.slow
def test_equals_torch_fidelity_from_images_to_scores(tmp_path: Path, extractor: InceptionExtractor) -> None:
    import torch_fidelity
    from torch_fidelity.metric_kid import kid_features_to_metric

    path = tmp_path / "seeded.pth"
    path.write_bytes(inception_pth())
    generated, reference = blobs(6, seed=1), blobs(8, seed=2)
    expected = torch_fidelity.calculate_metrics(
        input1=Tensors(rgb(generated)),
        input2=Tensors(rgb(reference)),
        feature_extractor_weights_path=str(path),
        fid=True,
        kid=True,
        isc=True,
        prc=True,
        feature_extractor="inception-v3-compat",
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
    x, y = (side.features.astype(np.float64) for side in ours)
    kid = kernel_distance(x, y, subset_size=5, n_subsets=4, seed=2020)
    score = inception_score(ours[0].probabilities, n_splits=2, seed=2020)
    neighbours = neighbour_scores(x, y)
    # torch-fidelity sums the roots of 2,048 eigenvalues of a product of rank 5; the 2,043 that should be 0 are noise
    # of 1e-16 whose roots are not small. Where no eigenvalue is 0 the two agree to 1e-6: see the next test.
    assert frechet_distance(x, y) == pytest.approx(expected["frechet_inception_distance"], rel=5e-5)
    assert score.split_mean == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert neighbours.precision == pytest.approx(expected["precision"], rel=1e-6)
    assert neighbours.recall == pytest.approx(expected["recall"], rel=1e-6)
    # torch-fidelity sums kernels in float32 and takes differences of those sums: off by some ulp of the largest kernel.
    ulp = float(np.finfo(np.float32).eps * polynomial_kernel(y, y).max())
    assert kid.subset_mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6, abs=8 * ulp)
    # The same features in float64 take that rounding away.
    exact = kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=4, kid_subset_size=5, rng_seed=2020, verbose=False
    )
    assert kid.subset_mean == pytest.approx(exact["kernel_inception_distance_mean"], rel=1e-6)


@pytest.mark.slow
def test_the_distance_equals_torch_fidelity_where_its_root_is_stable(tmp_path: Path) -> None:
    import torch_fidelity
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # Inception's first pooled layer has 64 features, fewer than there are images, so that covariances have full rank.
    path = tmp_path / "seeded.pth"
    path.write_bytes(inception_pth())
    rng = np.random.default_rng(0)
    sides = [rng.integers(0, 256, (n, 3, 24, 24), dtype=np.uint8) for n in (70, 75)]
    sides[0] //= 2
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["64"], feature_extractor_weights_path=str(path))
    with torch.inference_mode():
        features = [torch.cat([network(part)[0] for part in torch.from_numpy(side).split(5)]) for side in sides]
    expected = torch_fidelity.calculate_metrics(
        input1=Tensors(sides[0]),
        input2=Tensors(sides[1]),
        feature_extractor_weights_path=str(path),
        fid=True,
        feature_layer_fid="64",
        batch_size=5,
        cuda=False,
        verbose=False,
        cache=False,
        save_cpu_ram=True,
    )["frechet_inception_distance"]
    assert frechet_distance(*(side.numpy() for side in features)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_distance_does_not_depend_on_the_batch_size(
    weights: bytes, extractor: InceptionExtractor, batch_size: int
) -> None:
    other = InceptionExtractor(weights, sha256="seeded", device="cpu", batch_size=batch_size)
    generated, reference = blobs(3, seed=1), blobs(4, seed=2)

    def distance(chosen: InceptionExtractor) -> float:
        return frechet_distance(*(extract(chosen, images).features for images in (generated, reference)))

    # Statistics are float64, so that only float32 features move: 2e-5 of an activation, as above, and differences of
    # activations are about a tenth of them.
    assert distance(other) == pytest.approx(distance(extractor), rel=4e-4)
    # In batches of one shape nothing moves: the same to the last bit.
    assert distance(other) == distance(other)


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
