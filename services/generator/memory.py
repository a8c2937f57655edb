"""Memory that stays with the process while a network works, and goes back to the system after it; a GPU's likewise.

Torch is never imported here, for where nothing else has, no work was on a GPU; nor is anything else before its use.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from shared.jobs.runner import Execution, Finish, Work

GPU_BROKEN_EXIT_CODE: Final = 87
"""With this code a worker ends itself whose GPU answers no more; no other end of a process has it."""

_M_TRIM_THRESHOLD: Final = -1  # glibc's malloc.h
_M_MMAP_MAX: Final = -4
_INT_MAX: Final = 2**31 - 1

T = TypeVar("T")


@contextmanager
def held_memory() -> Iterator[None]:
    """Within it, memory that is freed is used again; at its end, all that is free is given back.

    glibc otherwise returns each large tensor at once and faults every page of the next one in: 120,000 pages an update
    of `compact`, a tenth of its processor time (59 ms an image against 53). With another C library nothing is done.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, _INT_MAX)
    try:
        yield
    finally:
        library.malloc_trim(0)


def run_on_gpu(job_id: str, number: int, *, work: "Work | None" = None, finish: "Finish") -> bool:
    """`shared.jobs.runner.run_shard` for work that may use a GPU, which workers of several kinds share.

    What the work no longer needs of the GPU's memory goes back to it, for torch would keep it for this process. A GPU
    that work has broken (an illegal access, a failed assertion on the device) fails all that this process asks of it
    afterwards: the process ends at once, before the shard counts as failed. The lease, which runs out, hands the shard
    on, and whoever watches the workers starts another.
    """
    from shared.jobs.runner import run_shard

    watched = _watch_gpu(work) if work is not None else None
    try:
        return run_shard(job_id, number, work=watched, finish=_watch_gpu(finish))
    finally:
        _give_back_gpu_memory()


def _watch_gpu(work: "Callable[[Execution], T]") -> "Callable[[Execution], T]":
    """`work`, after whose failure, of whatever kind, the GPU is asked whether it still answers."""

    def watched(execution: "Execution") -> T:
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
        from shared.logs import get_log

        try:
            get_log(__name__).exception("gpu_broke")
        finally:
            os._exit(GPU_BROKEN_EXIT_CODE)


def _find_torch_on_gpu() -> Any:
    """Torch, if this process has asked a GPU for something with it; else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None
