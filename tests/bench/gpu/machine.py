"""The machine: what it is called, what it can at most, and the clock that waits for it."""

import gc
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from services.generator.models.network import NoisePredictor
from services.generator.models.preset import Preset

_PRODUCTS: Final = 30
_ROUNDS: Final = 5
GIB: Final = 1024**3


class Clock:
    """Knows how long the run may still take."""

    def __init__(self, minutes: float) -> None:
        self._until = time.monotonic() + 60 * minutes

    def has(self, seconds: float) -> bool:
        """Whether so many are left."""
        return self._until - time.monotonic() >= seconds


def wait(device: torch.device) -> None:
    """Return when the device has done all it was asked; without this a clock would time the asking only."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(action: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run of `action`, until the device has done its work."""
    wait(device)
    began = time.perf_counter()
    action()
    wait(device)
    return time.perf_counter() - began


def free_memory(device: torch.device) -> None:
    """Give back what the last measurement used, so that the next starts like it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def most_memory_gib(device: torch.device) -> float | None:
    """The most memory of the GPU that tensors took since `free_memory`."""
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None


def describe_machine(device: torch.device) -> dict[str, str]:
    """The device's name and the versions that decide its speed."""
    facts = {"device": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["device"] = f"{properties.name}, {properties.total_memory / GIB:.0f} GiB, {os.cpu_count()} CPU cores"
        facts["cuda"] = str(torch.version.cuda)
        facts["cudnn"] = str(torch.backends.cudnn.version())
    facts["python"] = platform.python_version()
    return facts | {package: version(package) for package in ("torch", "monai", "diffusers")}


def measure_peak(n: int, device: torch.device) -> float:
    """Floating-point operations a second of the product of two n x n bfloat16 matrices: the fastest of a few rounds."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.empty(n, n, device=device, dtype=torch.bfloat16)

    def multiply() -> None:
        for _ in range(_PRODUCTS):
            torch.mm(a, b, out=product)

    multiply()  # warm
    return _PRODUCTS * 2 * n**3 / min(seconds_of(multiply, device) for _ in range(_ROUNDS))


def count_flops(preset: Preset) -> tuple[int, int]:
    """Floating-point operations of the network on one image: forward, and forward with backward.

    Counted by torch on the `meta` device, which computes nothing. Attention is counted as it is written out, so what a
    fused kernel computes twice counts once.
    """
    config = preset.unet.model_copy(update={"fused_attention": False})
    with torch.device("meta"):
        network = NoisePredictor(config)
        x_t, t = torch.empty(1, 1, preset.size_px, preset.size_px), torch.zeros(1, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            predicted = network(x_t, t)
            forward = counter.get_total_flops()
            predicted.square().mean().backward()
    return forward, counter.get_total_flops()
