"""The threads in which a shard's images are worked on, with progress and cancelling."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

from services.preprocess.settings import get_preprocess_settings
from shared.jobs.runner import Execution

S = TypeVar("S")
T = TypeVar("T")


def in_threads(
    execution: Execution, batches: Sequence[Sequence[S]], work: Callable[[Sequence[S]], list[T]], quota: int
) -> list[T]:
    """What `work` makes of each batch's items, in order; progress counts items, scaled to `quota`.

    Raises:
        Cancelled, Stopping: between two batches.
    """
    from threadpoolctl import threadpool_limits

    cv2.setNumThreads(1)  # the pool below is the parallelism; the libraries' own threads would only compete with it
    n_items = sum(map(len, batches))
    results: list[T] = []
    pool = ThreadPoolExecutor(get_preprocess_settings().threads)
    with threadpool_limits(1):
        try:
            for made in pool.map(work, batches):
                results += made
                execution.progress.update(len(results) * quota // n_items, quota)
                execution.progress.raise_if_cancelled()
        finally:
            pool.shutdown(cancel_futures=True)
    execution.progress.update(quota, quota)
    return results
