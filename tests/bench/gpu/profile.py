"""Where the time of an update goes."""

from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from tests.bench.gpu.machine import wait

_UPDATES = 3
_ROWS = 15


def profile_updates(update: Callable[[], object], update_s: float, device: torch.device) -> str:
    """The operations and kernels that a few updates spend most time in, as text.

    Args:
        update: makes one.
        update_s: seconds of one when nobody looks; what the GPU's kernels leave of it, the GPU waits for the CPU.
        device: where.
    """
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as recorded:
        for _ in range(_UPDATES):
            update()
        wait(device)
    events = recorded.key_averages()
    order = "self_device_time_total" if cuda else "self_cpu_time_total"
    table: str = events.table(sort_by=order, row_limit=_ROWS, max_name_column_width=70)
    if not cuda:
        return table
    kernels = [e for e in events if e.device_type == DeviceType.CUDA and not e.is_user_annotation]
    busy_s = sum(e.self_device_time_total for e in kernels) / 1e6 / _UPDATES
    head = f"Kernels take {1e3 * busy_s:.1f} ms of an update of {1e3 * update_s:.1f} ms ({busy_s / update_s:.0%}).\n\n"
    return head + table
