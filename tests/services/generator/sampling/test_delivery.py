import contextlib
import threading
import time
from collections.abc import Callable

import pytest

from services.generator.sampling.delivery import MAX_WAITING, Delivery
from shared.progress import Cancelled
from tests.support.workers import wait_for


def test_results_come_in_the_order_of_adding() -> None:
    def deliver(k: int) -> int:
        time.sleep(0.002 * (k % 3))
        return k

    with Delivery(deliver) as delivery:
        for k in range(50):
            delivery.add(k)
        assert delivery.results() == list(range(50))


def test_adding_does_not_wait_for_the_delivery() -> None:
    gate = threading.Event()
    with Delivery(lambda k: gate.wait(60)) as delivery:
        for k in range(MAX_WAITING):
            delivery.add(k)
        gate.set()
        assert delivery.results() == [True] * MAX_WAITING


def test_no_more_than_so_many_wait() -> None:
    gate, added = threading.Event(), []

    def add_all(delivery: Delivery) -> None:
        for k in range(MAX_WAITING + 5):
            delivery.add(k)
            added.append(k)

    with Delivery(lambda k: gate.wait(60)) as delivery:
        adding = threading.Thread(target=add_all, args=(delivery,))
        adding.start()
        wait_for(lambda: len(added) == MAX_WAITING)
        adding.join(0.2)
        assert adding.is_alive()
        assert len(added) == MAX_WAITING
        gate.set()
        adding.join(60)
        assert len(delivery.results()) == MAX_WAITING + 5


def fail(k: int) -> int:
    if k == 3:
        raise OSError("the store is down")
    return k


def deliver_all(deliver: Callable[[int], object], n: int, pause_s: float = 0.0) -> int:
    """Returns how many could be added before an error, which comes out of the `with`."""
    added = 0
    with contextlib.suppress(OSError), Delivery(deliver) as delivery:
        for k in range(n):
            delivery.add(k)
            added += 1
            time.sleep(pause_s)
        delivery.results()
        pytest.fail("no error surfaced")
    return added


def test_a_failure_stops_the_drawing_early() -> None:
    assert 3 < deliver_all(fail, 10_000, pause_s=0.001) < 1000


def test_a_failure_of_the_last_surfaces_with_the_results() -> None:
    assert deliver_all(fail, 4) == 4


def test_leaving_early_drops_what_waits_and_ends_the_threads() -> None:
    begun = []

    def deliver(k: int) -> None:
        begun.append(k)
        time.sleep(2.0)

    def leave() -> None:
        with Delivery(deliver) as delivery:
            for k in range(40):
                delivery.add(k)
            raise Cancelled

    with pytest.raises(Cancelled):
        leave()
    assert len(begun) < 10
    assert not any(thread.name.startswith("delivery") for thread in threading.enumerate())
