"""Images to features: the spaces in which synthetic and real images are compared.

A network sees gray images in batches of one fixed shape (the last one is padded), so the features of an image
depend neither on its neighbours nor on how many images there are: on a CPU they are bit-equal in any batch of the
same shape, and differ by about 1e-6 relative between shapes. They can therefore be kept under (hash of the image,
hash of the extractor): see `cache`.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.evaluator.metrics.inception_score import Probabilities, softmax
from services.evaluator.metrics.samples import TooFewImages
from shared.errors import InvalidInput
from shared.progress import Progress

GrayImages = NDArray[np.uint8]
"""(n, h, w) uint8 in 0..255, one gray image per row."""

INCEPTION_BATCH = 16
"""Images per Inception batch: 299 x 299 activations of 16 images stay under 1 GB."""


class WeightsOfAnotherNetwork(InvalidInput):
    """The weights are not those of the network they are meant for."""


@dataclass(frozen=True)
class ImageFeatures:
    """What an extractor found in a set of images.

    Attributes:
        features: (n, d) float32, unbounded.
        probabilities: (n, c) float64 in [0, 1], rows sum to 1: the class probabilities that the Inception Score needs;
            c is 0 where the extractor knows no classes.
    """

    features: NDArray[np.float32]
    probabilities: Probabilities


class FeatureExtractor(Protocol):
    """A named feature space."""

    name: str
    """"inception", "classifier", "radiomics" or "keras-inception"."""
    version: int
    """Of the code from pixels to features; raise it with any change that moves a feature, so that none is mixed."""
    sha256: str
    """Hash of the weights: two extractors of the same name, version and hash give the same features."""
    batch_size: int
    """Images per call of `extract_batch`."""

    def extract_batch(self, images_u8: GrayImages) -> ImageFeatures:
        """Features of up to `batch_size` images of one size, each independent of the others."""


def extract_batches(
    extractor: FeatureExtractor,
    images: Iterable[NDArray[np.uint8]],
    *,
    progress: Progress,
    done_before: int,
    total: int,
) -> Iterator[ImageFeatures]:
    """Features of all images, in their order, one batch at a time.

    Args:
        extractor: the feature space.
        images: (h, w) uint8 gray in 0..255, all of one size; read lazily, so that only one batch is in memory.
        progress: told after each batch how many images are finished; asked before each whether to go on.
        done_before: images that other calls of the same job have finished.
        total: images of the whole job.
    """
    done = done_before
    for batch in _batches(images, extractor.batch_size):
        progress.raise_if_cancelled()
        found = extractor.extract_batch(batch)
        done += len(batch)
        progress.update(done, total)
        yield found


def extract_features(
    extractor: FeatureExtractor,
    images: Iterable[NDArray[np.uint8]],
    *,
    progress: Progress,
    done_before: int,
    total: int,
) -> ImageFeatures:
    """Features of all images, in their order; see `extract_batches`.

    Raises:
        TooFewImages: there is no image.
    """
    parts = list(extract_batches(extractor, images, progress=progress, done_before=done_before, total=total))
    if not parts:
        raise TooFewImages("There is no image to take features of.")
    return ImageFeatures(
        np.concatenate([part.features for part in parts]), np.concatenate([part.probabilities for part in parts])
    )


def _batches(images: Iterable[NDArray[np.uint8]], size: int) -> Iterator[GrayImages]:
    remaining = iter(images)
    while chunk := list(islice(remaining, size)):
        yield np.stack(chunk)


class InceptionExtractor:
    """torch-fidelity's Inception-v3, converted from the TensorFlow network of Heusel et al. 2017: FID's own space.

    Features are the 2,048 pooled activations ("2048"), probabilities the softmax of the 1,008 logits without bias
    ("logits_unbiased"), as torch-fidelity uses for FID, KID and Inception Score. The network resizes to 299 x 299 as
    TensorFlow 1 did.

    Args:
        weights: safetensors bytes with torch-fidelity's parameter names.
        sha256: hash of those bytes.
        device: torch device name; by default a CUDA device where there is one.
        batch_size: images in every batch the network sees; a shorter one is padded.

    Raises:
        WeightsOfAnotherNetwork: names or shapes of the weights do not fit.
    """

    name = "inception"
    version = 1

    def __init__(
        self, weights: bytes, *, sha256: str, device: str | None = None, batch_size: int = INCEPTION_BATCH
    ) -> None:
        import torch

        self.sha256 = sha256
        self.batch_size = batch_size
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._network = build_inception(weights).to(self._device)

    def extract_batch(self, images_u8: GrayImages) -> ImageFeatures:
        """Features (n, 2048) and probabilities (n, 1008) of gray images (n, h, w) uint8."""
        import torch

        n = len(images_u8)
        padding = np.repeat(images_u8[-1:], self.batch_size - n, axis=0)
        gray = torch.from_numpy(np.concatenate([images_u8, padding]))
        # A GPU would round the inputs of convolutions to 10 bits (TF32): features would depend on the machine.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            # Inception takes RGB: the gray level is repeated over the three channels.
            rgb = gray.unsqueeze(1).expand(-1, 3, -1, -1).to(self._device)
            pooled, logits = self._network(rgb)
        return ImageFeatures(pooled[:n].cpu().numpy(), softmax(logits[:n].cpu().numpy()))


def build_inception(weights: bytes) -> Any:
    """torch-fidelity's Inception network in evaluation mode, float32, on the CPU.

    Its class reads weights only by `torch.load` of a path or of a file object, so that the tensors are handed over
    in a buffer that was written here a moment before: nothing that came from outside is unpickled.

    Raises:
        WeightsOfAnotherNetwork: names or shapes do not fit, or the bytes are no safetensors file.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    buffer = io.BytesIO()
    try:
        torch.save(load(weights), buffer)
        buffer.seek(0)
        return FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=buffer
        )
    except (SafetensorError, RuntimeError) as error:
        lines = str(error).splitlines()
        raise WeightsOfAnotherNetwork(
            f"These are not the weights of torch-fidelity's Inception network: {' '.join(lines[:2])}"
        ) from error


class ClassifierExtractor:
    """The feature space of a tumour classifier trained on this platform; needs no library weights.

    Its features know brain MRIs, which Inception's do not, but they depend on the classifier: compare scores only
    where its id is the same.

    Args:
        sha256: hash of the classifier's weights.
        extract: gray images (n, h, w) uint8 to features (n, d) float32; keeps its own batch shape.
        predict: gray images (n, h, w) uint8 to class probabilities (n, 4) float32; likewise.
        batch_size: images per call.
    """

    name = "classifier"
    version = 1

    def __init__(
        self,
        *,
        sha256: str,
        extract: Callable[[GrayImages], NDArray[np.float32]],
        predict: Callable[[GrayImages], NDArray[np.float32]],
        batch_size: int = 256,
    ) -> None:
        self.sha256 = sha256
        self.batch_size = batch_size
        self._extract = extract
        self._predict = predict

    def extract_batch(self, images_u8: GrayImages) -> ImageFeatures:
        """Features (n, d) and class probabilities (n, 4) of gray images (n, h, w) uint8."""
        features = np.asarray(self._extract(images_u8), dtype=np.float32)
        return ImageFeatures(features, np.asarray(self._predict(images_u8), dtype=np.float64))
