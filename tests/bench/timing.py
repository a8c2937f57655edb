"""How seconds are measured."""

import time
from collections.abc import Callable


def fastest_s(action: Callable[[], object], n: int = 3) -> float:
    """Seconds of the fastest of n runs, which noise can only make longer."""
    times = []
    for _ in range(n):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return min(times)
