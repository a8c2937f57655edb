"""Messages: Celery on Redis. A message is a job id and a shard number, nothing else; the row says the rest.

A message wakes one worker of its queue, which does the shard whose turn it is (`shared/jobs/turns.py`). Losing,
doubling or delaying one is harmless: a claim decides who works, and the sweeper sends again.
Celery and redis are imported at their first use: twelve processes start on two cores, and few need them at once.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shared.errors import QueueUnavailable
from shared.jobs.states import QUEUES
from shared.settings import Settings, get_settings

if TYPE_CHECKING:
    import redis
    from celery import Celery

_TRANSPORT: dict[str, Any] = {
    # A dead or silent broker must not hold a request or a worker for minutes (kombu's defaults never give up).
    "socket_timeout": 5.0,
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 5,
    # Nothing renews a delivery, so it must outlast the longest task; the claim would refuse a second run anyway.
    "visibility_timeout": 30 * 86400,
}


def make_celery(settings: Settings) -> "Celery":
    """A Celery app that sends to, and works from, the broker of `settings`; nothing connects yet."""
    from celery import Celery

    app = Celery("synthmri", broker=settings.redis_url)
    app.conf.update(
        broker_transport_options=_TRANSPORT,
        result_backend_transport_options=_TRANSPORT,
        broker_connection_timeout=2.0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # The row owns retries: acknowledging early keeps a killed worker's message from coming back by itself.
        task_acks_late=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_default_queue="unrouted",
        task_routes={kind: {"queue": queue} for kind, queue in QUEUES.items()},
    )
    return app


@lru_cache
def get_celery() -> "Celery":
    """The Celery app with which this process sends messages."""
    return make_celery(get_settings())


def send(kind: str, job_id: str, number: int) -> None:
    """Send the message for one shard.

    Raises:
        QueueUnavailable: Redis does not answer; the sweeper will send the message later.
    """
    import redis
    from kombu.exceptions import KombuError, OperationalError

    try:
        get_celery().send_task(kind, args=[job_id, number], queue=QUEUES[kind], retry=False, ignore_result=True)
    except (OperationalError, KombuError, redis.RedisError, OSError) as error:
        raise QueueUnavailable("Redis does not answer; the job is stored and starts when Redis is back.") from error


@lru_cache
def get_redis() -> "redis.Redis":
    """The Redis client of this process, for rate limits and queue lengths; answers or fails within seconds."""
    import redis

    return redis.Redis.from_url(get_settings().redis_url, socket_timeout=2.0, socket_connect_timeout=1.0)


def queue_length(queue: str) -> int:
    """How many messages wait in `queue`.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    import redis

    try:
        return int(get_redis().llen(queue))
    except redis.RedisError as error:
        raise QueueUnavailable("Redis does not answer.") from error


def worker_app(name: str) -> "Celery":
    """The Celery app of one service's worker, with logs configured and a SIGTERM that hands work back."""
    from celery.signals import worker_init, worker_shutting_down

    from shared.jobs.progress import stop_working
    from shared.logs import configure_logs

    settings = get_settings()
    app = make_celery(settings)
    app.main = f"synthmri.{name}"
    app.task_cls = "shared.jobs.wakeups:Wakeup"
    worker_init.connect(lambda **_: configure_logs(settings.log_level), weak=False)
    worker_shutting_down.connect(lambda **_: stop_working(), weak=False)
    return app
