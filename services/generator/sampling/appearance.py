"""How near drawn images come to the training images, in few features that need no weights from elsewhere.

The features see coarse shape (leading principal components of thumbnails) and graininess (the power spectrum). They see
no anatomy: this is a yardstick for samplers of one model, whose faults, blur and noise, it does see. It is no FID.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.generator.images import ImageU8, shrink_image

Features = NDArray[np.float64]
"""(N, D) float64, in standard deviations of the training images."""
_THUMBNAIL_PX: Final = 32
_N_COMPONENTS: Final = 16
_N_BANDS: Final = 8
"""16 + 8 features: few enough that the covariance of 64 images has full rank."""
_FLOOR_SPLITS: Final = 10


class AppearanceSpace:
    """Features fitted on training images, (N, H, W) uint8, which get mean 0 and standard deviation 1 in each."""

    def __init__(self, training_u8: ImageU8) -> None:
        thumbnails = _shrink(training_u8)
        self._mean = thumbnails.mean(axis=0)
        n_components = min(_N_COMPONENTS, len(thumbnails) - 1)
        self._components = np.linalg.svd(thumbnails - self._mean, full_matrices=False)[2][:n_components]
        raw = self._measure(training_u8)
        self._offset, self._scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-6)

    def describe(self, images_u8: ImageU8) -> Features:
        """The features of `images_u8`, (N, H, W) uint8 of the training images' size."""
        features: Features = (self._measure(images_u8) - self._offset) / self._scale
        return features

    def _measure(self, images_u8: ImageU8) -> Features:
        return np.hstack([(_shrink(images_u8) - self._mean) @ self._components.T, _log_spectrum(images_u8)])


def frechet_distance(generated: Features, reference: Features) -> float:
    """d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)), Heusel et al. 2017 (arXiv:1706.08500), eq. 6.

    It is biased upwards by a small n: compare values of equal n only.
    """
    mu_1, mu_2 = generated.mean(axis=0), reference.mean(axis=0)
    s_1, s_2 = np.cov(generated, rowvar=False), np.cov(reference, rowvar=False)
    root = _matrix_root(s_1)
    # S_1 S_2 and S_1^(1/2) S_2 S_1^(1/2) have the same eigenvalues, and the second is symmetric.
    cross = np.linalg.eigvalsh(root @ s_2 @ root)
    trace = np.trace(s_1) + np.trace(s_2) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return max(float((mu_1 - mu_2) @ (mu_1 - mu_2) + trace), 0.0)


def real_floor(training: Features, n: int) -> float:
    """Mean distance of `n` real images from the other ones: what a perfect model of `n` images would measure.

    At most half of the images are set apart, so with fewer than 2 n of them the floor lies above that.
    """
    n = min(n, len(training) // 2)
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(training)) for _ in range(_FLOOR_SPLITS)]
    return float(np.mean([frechet_distance(training[order[:n]], training[order[n:]]) for order in orders]))


def _shrink(images_u8: ImageU8) -> Features:
    """Thumbnails as rows, (N, px * px) float64 in [0, 1]."""
    side = min(_THUMBNAIL_PX, images_u8.shape[1])
    thumbnails = np.stack([shrink_image(image_u8, side, "area") for image_u8 in images_u8])
    return thumbnails.reshape(len(thumbnails), -1) / 255.0


def _log_spectrum(images_u8: ImageU8) -> Features:
    """Log of the mean power in rings of spatial frequency, (N, bands) float64: from 1 cycle an image to the finest."""
    side = images_u8.shape[1]
    power = np.abs(np.fft.fft2(images_u8 / 255.0)) ** 2 / side**2
    cycles = np.fft.fftfreq(side, 1 / side)
    radius = np.hypot(cycles[:, None], cycles)
    edges = np.geomspace(1, side / 2, _N_BANDS + 1)
    rings = [(radius >= low) & (radius < high) for low, high in pairwise(edges)]
    # A gray level of 255 in one pixel of noise has power 1.5e-5; below 1e-7 differences are rounding.
    return np.stack([np.log(power[:, ring].mean(axis=1) + 1e-7) for ring in rings if ring.any()], axis=1)


def _matrix_root(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root of a covariance matrix."""
    values, vectors = np.linalg.eigh(s)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root
