"""Bias field: the slow drift of brightness that a receive coil leaves on a scan, estimated and removed by N4."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LEAST_SIDE_PX = 8


def remove_bias_field(
    pixels_u8: NDArray[np.uint8], shrink: int = 4, iterations: Sequence[int] = (50, 50, 50, 50)
) -> NDArray[np.uint8]:
    """The image without its bias field, at the same brightest level; an image without a head is returned as it is.

    N4ITK (Tustison et al. 2010, doi:10.1109/TMI.2010.2046908) as SimpleITK has it. The field is fitted to the logarithm
    of the image inside Otsu's mask, on a reduced image, and divided out at full size.

    Warning: N4 models one coil's smooth field in raw scanner data. After 8-bit windowing, JPEG or CLAHE its assumptions
    are weak, and on a single slice it also removes real gradients; compare before and after by eye. The study showed
    examples but never applied a correction (study 2.3).

    Args:
        pixels_u8: (H, W) uint8, gray levels 0..255.
        shrink: how many times smaller per axis the image is on which the field is fitted.
        iterations: most iterations at each fitting level.

    Returns:
        (H, W) uint8, gray levels 0..255.
    """
    import SimpleITK as sitk  # noqa: N813 is its usual name

    if int(pixels_u8.max()) == int(pixels_u8.min()):
        return pixels_u8
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(
        1
    )  # the caller's threads share the cores; the result is the same
    image = sitk.GetImageFromArray(pixels_u8.astype(np.float32) + 1.0)  # the logarithm of 0 is not a number
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    factor = max(1, min(shrink, min(pixels_u8.shape) // _LEAST_SIDE_PX))
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([int(n) for n in iterations])
    n4.Execute(sitk.Shrink(image, [factor, factor]), sitk.Shrink(mask, [factor, factor]))
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)))
    corrected = pixels_u8 / field
    top = float(corrected.max())
    scaled = corrected * (float(pixels_u8.max()) / top) if top > 0 else corrected
    return np.asarray(np.clip(np.rint(scaled), 0, 255), dtype=np.uint8)
