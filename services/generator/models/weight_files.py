"""What the first bytes of a weights file say: whether it is safetensors, and what it holds; no torch."""

import json
import math
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from shared.errors import InvalidInput

LENGTH_BYTES: Final = 8  # https://huggingface.co/docs/safetensors: u64 little-endian, then a JSON header of that length
MAX_HEADER_BYTES: Final = 16 * 1024**2
FACTS: Final = "synthmri"
"""What the platform says of its own files, as JSON, under this name of the header's metadata."""
FLOATS: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a number of each type that weights may have."""
MAX_SIDES: Final = 8
"""Most dimensions of a tensor; a convolution in space has five."""
_PICKLE_STARTS: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class CheckpointIsPickle(InvalidInput):
    """The file is a pickle (a `.pt`, `.pth` or `.ckpt`), which could run code of its own when read."""


class NotSafetensors(InvalidInput):
    """The file of weights is no safetensors file, or is damaged."""


@dataclass(frozen=True)
class TensorHead:
    """What a safetensors header says of one tensor.

    Args:
        dtype: for example `F32`.
        start: where its bytes begin, counted from the end of the header; `end` is where they end.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """A safetensors header: the tensors of the file by name, and the texts that its writer added."""

    tensors: dict[str, TensorHead]
    metadata: dict[str, str]


def refuse_pickle(start: bytes) -> None:
    """Return if these first bytes of a file begin no pickle.

    Raises:
        CheckpointIsPickle: they do; the file is not opened.
    """
    if start.startswith(_PICKLE_STARTS):
        raise CheckpointIsPickle(
            "This is a Python pickle, which can run any code when opened, so it is refused. Convert it where it was "
            "made: safetensors.torch.save_file(torch.load(path, weights_only=True), 'weights.safetensors')."
        )


def read_header(file: BinaryIO, size_bytes: int) -> Header:
    """What the header of a safetensors file of `size_bytes` says; what its tensors hold is not read.

    Raises:
        CheckpointIsPickle: the file is a pickle.
        NotSafetensors: it is something else, or not whole, or holds other things than floating-point numbers.
    """
    start = file.read(LENGTH_BYTES)
    refuse_pickle(start)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH_BYTES or not 2 <= length <= min(MAX_HEADER_BYTES, size_bytes - LENGTH_BYTES):
        raise NotSafetensors(
            "This is no safetensors file. Save the state dict with safetensors.torch.save_file(network.state_dict(), "
            "'weights.safetensors') and send that file."
        )
    try:
        entries = json.loads(file.read(length))
        metadata = _read_metadata(entries.pop("__metadata__", None))
        heads = {name: _read_head(entry, size_bytes) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotSafetensors("The header of this safetensors file cannot be read; save it again.") from error
    end = max((head.end for head in heads.values()), default=0)
    if LENGTH_BYTES + length + end != size_bytes:
        raise NotSafetensors(f"The file has {size_bytes} bytes, but its header speaks of another size; send it again.")
    if not heads:
        raise NotSafetensors("This safetensors file holds no tensors.")
    if others := sorted({head.dtype for head in heads.values()} - set(FLOATS)):
        held = ", ".join(others).encode("ascii", "replace").decode()[:100]
        raise NotSafetensors(
            f"Weights are floating-point numbers ({', '.join(FLOATS)}), but the file holds {held}; "
            "send the state dict of the network only, without optimiser or counters."
        )
    for name, head in heads.items():
        if head.end - head.start != math.prod(head.shape) * FLOATS[head.dtype]:
            raise NotSafetensors(f"The bytes of tensor {ascii(name)[:100]} do not fit its shape; save the file again.")
    return Header(heads, metadata)


def _read_metadata(entry: Any) -> dict[str, str]:
    """The texts in a header's metadata; anything else there is somebody else's business."""
    return {name: text for name, text in entry.items() if isinstance(text, str)} if isinstance(entry, dict) else {}


def _read_head(entry: dict[str, Any], size_bytes: int) -> TensorHead:
    """One entry of the header, if its members are what they must be in a file of `size_bytes`.

    Raises:
        ValueError, KeyError, TypeError: they are not.
    """
    dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, start, end]
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > MAX_SIDES:
        raise TypeError("a header's dtype is text, its shape a short list")
    if not all(type(number) is int and 0 <= number <= size_bytes for number in numbers):
        raise ValueError("a header's sizes are whole numbers within the file")
    return TensorHead(dtype, tuple(shape), start, end)
