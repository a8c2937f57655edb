"""Files on their way out in background threads, while the next batch is drawn."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from types import TracebackType
from typing import Any, Final, Self

N_THREADS: Final = 2
"""Enough to hide the waits for the store; an encoding takes a millisecond of one core."""
MAX_WAITING: Final = 64
"""Images that may wait, a quarter of a MB each at most; a store slower than the network then slows the drawing."""


class Delivery:
    """Calls `deliver` in the background, in any order, and gives its results back in the order of `add`.

    Used as a context manager: leaving it after an error or a cancel drops what has not begun and waits for what has.
    """

    def __init__(self, deliver: Callable[..., Any]) -> None:
        self._deliver = deliver
        self._pool = ThreadPoolExecutor(N_THREADS, thread_name_prefix="delivery")
        self._free = BoundedSemaphore(MAX_WAITING)
        self._futures: list[Future[Any]] = []

    def add(self, *item: Any) -> None:
        """Deliver `item`, once there is room for it.

        Raises:
            Exception: what an earlier delivery that has ended raised.
        """
        self._raise_failures()
        self._free.acquire()
        future = self._pool.submit(self._deliver, *item)
        future.add_done_callback(lambda _: self._free.release())
        self._futures.append(future)

    def results(self) -> list[Any]:
        """What `deliver` returned for each item, when all are delivered.

        Raises:
            Exception: what the first failed delivery raised.
        """
        return [future.result() for future in self._futures]

    def _raise_failures(self) -> None:
        for future in self._futures[-MAX_WAITING:]:
            if future.done():
                future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
