"""Shards that may use a GPU, which several workers share: its memory goes back, and a broken one ends its worker.

Torch is never imported here: where nothing else has imported it, no work was on a GPU.
"""

import gc
import os
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

from shared.jobs.runner import Execution, Finish, Work, run_shard
from shared.logs import get_log

GPU_BROKEN_EXIT_CODE: Final = 87
"""With this code a worker ends itself whose GPU answers no more; no other end of a process has it."""

log = get_log(__name__)
T = TypeVar("T")


def run_on_gpu(job_id: str, number: int, *, work: Work | None = None, finish: Finish) -> bool:
    """`run_shard` for work that may use a GPU, which workers of several kinds share.

    What the work no longer needs of the GPU's memory goes back to it, for torch would keep it for this process. A GPU
    that work has broken (an illegal access, a failed assertion on the device) fails all that this process asks of it
    afterwards: the process ends at once, before the shard counts as failed. The lease, which runs out, hands the shard
    on, and whoever watches the workers starts another.
    """
    watched = _watch_gpu(work) if work is not None else None
    try:
        return run_shard(job_id, number, work=watched, finish=_watch_gpu(finish))
    finally:
        _give_back_gpu_memory()


def _watch_gpu(work: Callable[[Execution], T]) -> Callable[[Execution], T]:
    """`work`, after whose failure, of whatever kind, the GPU is asked whether it still answers."""

    def watched(execution: Execution) -> T:
        try:
            return work(execution)
        except Exception:
            _end_if_gpu_broke()
            raise

    return watched


def _give_back_gpu_memory() -> None:
    torch = _find_torch_on_gpu()
    if torch is None:
        return
    _end_if_gpu_broke()
    gc.collect()  # The frames of an error hold tensors, and hang together in cycles.
    torch.cuda.empty_cache()


def _end_if_gpu_broke() -> None:
    torch = _find_torch_on_gpu()
    if torch is None:
        return
    try:
        torch.cuda.synchronize()  # Repeats the error of a broken context, and no other.
    except RuntimeError:
        try:
            log.exception("gpu_broke")
        finally:
            os._exit(GPU_BROKEN_EXIT_CODE)


def _find_torch_on_gpu() -> Any:
    """Torch, if this process has asked a GPU for something with it; else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None
