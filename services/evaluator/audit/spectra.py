"""How the power of an image is spread over spatial frequencies: what sharpness and size it was made at."""

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

HALF_NYQUIST: Final = 0.25
"""Cycles per pixel; an image doubled in size holds next to nothing above it."""

NYQUIST: Final = 0.5
_PLATEAU: Final = (0.03, 0.12)
_LEAST_STEP: Final = 0.7  # decades: a factor of five
_INTERPOLATION_LOSS: Final = 0.6  # decades: linear and cubic interpolation halve amplitudes at the old Nyquist
_SMOOTHING_RINGS: Final = 5
_FEWEST_RINGS: Final = 32


def radial_power(images_u8: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Power of each image in rings of equal spatial frequency.

    The mean is removed and a Hann window applied (Harris 1978, doi:10.1109/PROC.1978.10837, eq. 27), so that the jump
    between opposite borders does not pose as fine detail. The corners above Nyquist along an axis are left out, as is
    the zero frequency.

    Args:
        images_u8: (n, h, w) uint8, gray levels 0..255.

    Returns:
        Frequencies (b,) of the ring centres, cycles per pixel, and (n, b) float64 power summed over each ring, gray
        levels squared, up to one factor common to all images of a size.
    """
    _, height, width = images_u8.shape
    window = np.outer(np.hanning(height + 1)[:-1], np.hanning(width + 1)[:-1]).astype(np.float32)
    radius = np.hypot(scipy.fft.fftfreq(height)[:, None], scipy.fft.rfftfreq(width)[None])
    n_rings = min(height, width) // 2
    ring = np.ceil(radius * 2 * n_rings - 1e-9).astype(np.int64) - 1  # ring b holds b/2n < f <= (b+1)/2n
    # rfft2 keeps one half of the plane: its inner columns stand for two.
    weight = np.full(radius.shape, 2.0)
    weight[:, 0] = 1.0
    if width % 2 == 0:
        weight[:, -1] = 1.0
    kept = (ring >= 0) & (ring < n_rings)
    power = np.empty((len(images_u8), n_rings))
    for row, image in enumerate(images_u8):
        pixels = image.astype(np.float32)
        spectrum = scipy.fft.rfft2((pixels - pixels.mean()) * window)
        squares = (spectrum.real**2 + spectrum.imag**2) * weight
        power[row] = np.bincount(ring[kept], weights=squares[kept], minlength=n_rings)
    return (np.arange(n_rings) + 0.5) / (2 * n_rings), power


def high_frequency_share(frequencies: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) share of each image's power above half the Nyquist frequency, 0..1; 3/4 for white noise.

    Args:
        frequencies: (b,) cycles per pixel.
        power: (n, b) from `radial_power`.
    """
    total = power.sum(axis=1)
    above = power[:, frequencies > HALF_NYQUIST].sum(axis=1)
    return np.asarray(np.divide(above, total, out=np.zeros_like(total), where=total > 0), np.float64)


def mean_spectrum(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """(b,) geometric mean over the images of each ring's share of an image's power.

    Args:
        power: (n, b) from `radial_power`.
    """
    shares = power / np.maximum(power.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(np.exp(np.log(np.maximum(shares, 1e-12)).mean(axis=0)), np.float64)


def find_cut_off(
    frequencies: NDArray[np.float64], synthetic: NDArray[np.float64], reference: NDArray[np.float64]
) -> float | None:
    """The frequency at which the synthetic images' power falls behind the reference's, as after an enlargement.

    An image enlarged to r times its size has no detail above 1/(2r) cycles per pixel. The ratio of both spectra, in
    decades, then steps down there; the step counts where it is a factor of five or more. It lies where half of it is
    done, or where a quarter of the power is left, which is what interpolation leaves at the old image's Nyquist.
    Re-encoding as JPEG fills the lost range with a little noise, so the power need not stay lost.

    Args:
        frequencies: (b,) cycles per pixel.
        synthetic: (b,) from `mean_spectrum`.
        reference: (b,) from `mean_spectrum`.

    Returns:
        Cycles per pixel; None where there is no such step.
    """
    if len(frequencies) < _FEWEST_RINGS:
        return None
    ratio = np.log10(np.maximum(synthetic, 1e-12) / np.maximum(reference, 1e-12))
    padded = np.pad(ratio, _SMOOTHING_RINGS // 2, mode="edge")
    smooth = np.convolve(padded, np.full(_SMOOTHING_RINGS, 1 / _SMOOTHING_RINGS), mode="valid")
    plateau = float(np.median(smooth[(frequencies > _PLATEAU[0]) & (frequencies < _PLATEAU[1])]))
    lowest = int(np.argmin(np.where(frequencies > _PLATEAU[1], smooth, np.inf)))
    if plateau - smooth[lowest] < _LEAST_STEP:
        return None
    half = plateau - min((plateau - smooth[lowest]) / 2, _INTERPOLATION_LOSS)
    above = np.flatnonzero(smooth[:lowest] > half)
    return float(frequencies[above[-1] + 1]) if len(above) else None
