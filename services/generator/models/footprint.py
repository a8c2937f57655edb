"""What a preset would cost in memory, so that a request for too much is refused before any work; no torch."""

from typing import Final

from services.generator.models.preset import Preset, UNetConfig
from shared.errors import InvalidInput

MAX_PARAMETERS: Final = 300_000_000
"""Numbers that training adjusts; with Adam and a moving average these are 6 GB. The study has 18.5 million."""
MAX_ATTENTION_BYTES: Final = 16 * 1024**3
"""Of the largest matrix of attention that is written out for one batch; softmax makes a second one."""


class PresetTooLarge(InvalidInput):
    """The preset asks for a network or a batch that does not fit into memory."""


class BatchDoesNotFit(InvalidInput):
    """The network needs more memory for a batch than there is."""


def check_footprint(preset: Preset) -> None:
    """Return if a training of `preset` can fit into memory.

    Raises:
        PresetTooLarge: the network has too many parameters, or attention takes too much memory.
    """
    check_parameters(preset.unet)
    n_bytes = measure_attention(preset, preset.batch_size)
    if n_bytes > MAX_ATTENTION_BYTES:
        raise PresetTooLarge(
            f"{_describe_attention(n_bytes)} Lower batch_size or size, or set fused_attention of unet to true."
        )


def check_drawing(preset: Preset, batch_size: int, *, guided: bool) -> None:
    """Return if a network of `preset` can draw `batch_size` images at once; guided, it sees each of them twice.

    Raises:
        BatchDoesNotFit: attention takes too much memory.
    """
    n_images = 2 * batch_size if guided else batch_size
    n_bytes = measure_attention(preset, n_images)
    if n_bytes > MAX_ATTENTION_BYTES:
        most = MAX_ATTENTION_BYTES // measure_attention(preset, 1) // (2 if guided else 1)
        advice = f"Ask for a smaller batch_size, {most} at most" if most else "Name a model of smaller images"
        raise BatchDoesNotFit(f"{_describe_attention(n_bytes)} {advice}.", maximum=most)


def _describe_attention(n_bytes: int) -> str:
    limit = f"{MAX_ATTENTION_BYTES / 1024**3:.0f} GiB"
    return f"Attention takes {n_bytes / 1024**3:.0f} GiB for a batch, and at most {limit} are allowed."


def check_parameters(unet: UNetConfig) -> None:
    """Return if the network is not too large to be held and trained.

    Raises:
        PresetTooLarge: it has too many parameters.
    """
    n_parameters = estimate_parameters(unet)
    if n_parameters > MAX_PARAMETERS:
        raise PresetTooLarge(
            f"This network has some {n_parameters / 1e6:.0f} million parameters; at most "
            f"{MAX_PARAMETERS / 1e6:.0f} million are allowed. Lower channels or res_blocks of unet."
        )


def measure_attention(preset: Preset, n_images: int) -> int:
    """Bytes of the largest attention matrix of `n_images`: float32, a row and a column for each pixel of its level.

    Fused attention never writes the matrix out: 0.
    """
    unet = preset.unet
    if unet.fused_attention:
        return 0
    last = len(unet.channels) - 1
    sizes = [0]
    for level, (channels, attention) in enumerate(zip(unet.channels, unet.attention_levels, strict=True)):
        if attention or level == last:  # The middle block attends too.
            n_pixels = (preset.size_px // unet.patch_px // 2**level) ** 2
            sizes.append(n_images * (channels // unet.head_channels) * n_pixels**2 * 4)
    return max(sizes)


def estimate_parameters(unet: UNetConfig) -> int:
    """Parameters of the network within a few per cent: kernels and projections without biases and normalisation."""
    channels, last = unet.channels, len(unet.channels) - 1
    embedding = 4 * channels[0]  # of the timestep
    total = channels[0] * embedding + embedding**2 + 2 * 9 * channels[0] * unet.patch_px**2
    current, skips = channels[0], [channels[0]]
    for level, width in enumerate(channels):
        for _ in range(unet.res_blocks):
            total += _count_block(current, width, embedding) + _count_attention(width) * unet.attention_levels[level]
            current = width
            skips.append(width)
        if level < last:
            total += 9 * width**2
            skips.append(width)
    total += 2 * _count_block(current, current, embedding) + _count_attention(current)
    for level, width in reversed(list(enumerate(channels))):
        for _ in range(unet.res_blocks + 1):
            total += _count_block(current + skips.pop(), width, embedding)
            total += _count_attention(width) * unet.attention_levels[level]
            current = width
        total += 9 * width**2 * (level > 0)
    return total


def _count_block(n_in: int, n_out: int, embedding: int) -> int:
    """A residual block: two 3 x 3 convolutions, the timestep's projection, and the shortcut's where widths differ."""
    return 9 * n_in * n_out + 9 * n_out**2 + embedding * n_out + n_in * n_out * (n_in != n_out)


def _count_attention(width: int) -> int:
    return 4 * width**2  # query, key, value and output
