import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.rate_limit import RateLimiter
from shared.errors import QueueUnavailable
from tests.support.servers import free_port

pytestmark = pytest.mark.services


@pytest.fixture
def limiter(redis_url):
    limiter = RateLimiter(redis_url, 20)
    limiter._redis.flushdb()
    while time.time() % 60 > 45:  # a window's edge would let a few more through
        time.sleep(0.5)
    yield limiter
    limiter.close()


def test_exactly_the_limit_is_admitted_from_many_threads(limiter):
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda _: limiter.wait_s("key:a"), range(40)))
    assert waits.count(0) == 20
    assert all(1 <= wait <= 120 for wait in waits if wait)


def test_keys_are_counted_apart(limiter):
    for _ in range(20):
        limiter.wait_s("key:a")
    assert limiter.wait_s("key:a") > 0
    assert limiter.wait_s("key:b") == 0


def test_the_window_slides(limiter):
    began = float(limiter._redis.time()[0])
    window = int(began // 60)
    limiter._redis.set(f"synthmri:rate:key:a:{window - 1}", 20)
    admitted = sum(limiter.wait_s("key:a") == 0 for _ in range(25))
    ended = float(limiter._redis.time()[0])
    # What of the last window still lies within the last minute counts against this one; time goes on meanwhile.
    fewest, most = (20 * (seconds - 60 * window) / 60 for seconds in (began, ended))
    assert fewest - 1 <= admitted <= most + 2


def test_zero_means_no_limit(redis_url):
    limiter = RateLimiter(redis_url, 0)
    assert all(limiter.wait_s("key:a") == 0 for _ in range(100))


def test_dead_redis_is_found_out_once_in_two_seconds():
    limiter = RateLimiter(f"redis://127.0.0.1:{free_port()}/0", 20)
    seconds = []
    for _ in range(50):
        started = time.monotonic()
        with pytest.raises(QueueUnavailable):
            limiter.wait_s("key:a")
        seconds.append(time.monotonic() - started)
    assert statistics.median(seconds) < 0.1
