"""How many requests one key, or one stranger's address, may make in a minute: a sliding window counted in Redis."""

import time
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import QueueUnavailable

_WINDOW_S: Final = 60
_RETRY_REDIS_S: Final = 2.0

# Sliding-window counter: the count of the running window plus the previous one's, weighted by how much of that still
# lies within the last minute. At a window's edge it admits no burst of twice the limit, as a fixed window does. Redis
# gives the time, so that no gateway's clock matters, and one script makes test and count one step.
_SCRIPT: Final = """
local limit, length = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = redis.call('TIME')
local windows = (now[1] + now[2] / 1000000) / length
local window = math.floor(windows)
local passed = windows - window
local key = KEYS[1] .. ':' .. window
local before = tonumber(redis.call('GET', KEYS[1] .. ':' .. (window - 1)) or '0')
local current = tonumber(redis.call('GET', key) or '0')
if before * (1 - passed) + current + 1 <= limit then
  redis.call('INCR', key)
  redis.call('EXPIRE', key, length * 2)
  return 0
end
-- When enough of the older window will have left the last minute: in this window, or in the next one.
local wait = 1 - (limit - 1 - current) / before - passed
if current + 1 > limit then
  wait = 1 - passed + math.max(0, 1 - (limit - 1) / current)
end
return math.max(1, math.ceil(wait * length))
"""


class RateLimiter:
    """Counts requests; thread-safe, connects at its first use.

    Args:
        redis_url: where the counters live.
        per_minute: requests allowed in any minute; 0 means no limit.
    """

    def __init__(self, redis_url: str, per_minute: int) -> None:
        self._per_minute = per_minute
        self._redis: Any = redis.Redis.from_url(
            redis_url,
            socket_timeout=0.5,
            socket_connect_timeout=0.5,
            # One more try mends a connection that a restart of Redis cut; the library's default waits for seconds.
            retry=Retry(NoBackoff(), 1),
        )
        self._script: Any = self._redis.register_script(_SCRIPT)
        self._down_until = 0.0

    def wait_s(self, subject: str) -> int:
        """Count one request of `subject`; 0 if it is allowed, else after how many seconds to try again.

        Raises:
            QueueUnavailable: Redis does not answer, so nothing could be counted.
        """
        if not self._per_minute:
            return 0
        # While Redis hangs, only one request in two seconds waits to find that out.
        if time.monotonic() < self._down_until:
            raise QueueUnavailable("Redis does not answer, so new work cannot be accepted; reading still works.")
        try:
            return int(self._script(keys=[f"synthmri:rate:{subject}"], args=[self._per_minute, _WINDOW_S]))
        except redis.RedisError as error:
            self._down_until = time.monotonic() + _RETRY_REDIS_S
            raise QueueUnavailable(
                "Redis does not answer, so new work cannot be accepted; reading still works."
            ) from error

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()
