"""The processes of the embedded platform, as data."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.plan import SERVICES, Plan
from deploy.embedded.programs import find_rclone, find_redis_server

PROJECT = Path(__file__).resolve().parents[2]

WORKERS = {
    "preprocess-worker": ("services.preprocess.tasks", "preprocess"),
    "diffusion-train-worker": ("services.generator.tasks", "diffusion.train"),
    "diffusion-sample-worker": ("services.generator.tasks", "diffusion.sample"),
    "evaluate-worker": ("services.evaluator.tasks", "evaluate"),
    "classifier-train-worker": ("services.classifier.tasks", "classifier.train"),
}
"""Worker name -> the module that registers its tasks, the one queue it reads."""


@dataclass(frozen=True)
class Process:
    """One process that supervisord keeps alive.

    Attributes:
        stage: "storage" starts first and stops last, "platform" is everything that uses it.
        stop_wait_s: seconds between SIGTERM and SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    stage: str = "platform"
    stop_wait_s: int = 10


def list_processes(plan: Plan) -> list[Process]:
    """Every process of this start, in the order in which it is started."""
    return [*_servers(plan), _gateway(plan), *_apis(plan), *_workers(plan), _sweeper()]


def redis_configuration(plan: Plan, password: str) -> str:
    """The text of redis.conf: nothing acknowledged is lost by a kill, nothing is evicted, nobody else gets in."""
    lines = {
        "bind": "127.0.0.1",
        "port": str(plan.ports["redis"]),
        "protected-mode": "yes",
        "requirepass": password,
        "dir": json.dumps(str(plan.folder.redis), ensure_ascii=False),  # redis.conf quotes as JSON does
        # Without an append-only file a kill -9 loses every message (measured: 5 of 5 rounds).
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        "save": '""',
        # A broker must refuse rather than forget.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "databases": "4",
        "tcp-keepalive": "60",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def redis_configuration_path(plan: Plan) -> Path:
    """Where redis.conf is written; it holds the password, so it is mode 600."""
    return plan.folder.run / "redis.conf"


def _servers(plan: Plan) -> Iterator[Process]:
    if plan.runs_redis:
        yield Process("redis", (find_redis_server(), str(redis_configuration_path(plan))), stage="storage")
    if plan.runs_s3:
        yield Process("s3", _rclone_command(plan), stage="storage")


def _rclone_command(plan: Plan) -> tuple[str, ...]:
    return (
        find_rclone(), "serve", "s3", str(plan.folder.s3),
        "--addr", f"127.0.0.1:{plan.ports['s3']}",
        # 200 means that the object is on the disk, not in a cache.
        "--vfs-cache-mode", "off",
        # Folders stay when their last object goes, otherwise an emptied bucket would vanish.
        "--no-cleanup",
        "--multipart-streaming-buffer-total", "256M",
        "--config", "/dev/null",
        "--log-level", "NOTICE",
    )  # fmt: skip


def _gateway(plan: Plan) -> Process:
    return Process("gateway", _uvicorn("gateway.app:create_app", plan.host, plan.port, "--factory"))


def _apis(plan: Plan) -> Iterator[Process]:
    for name in SERVICES:
        yield Process(f"{name}-api", _uvicorn(f"services.{name}.api:app", "127.0.0.1", plan.ports[name]))


def _uvicorn(app: str, host: str, port: int, *flags: str) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "uvicorn", app, *flags, "--host", host, "--port", str(port),
        "--log-level", "warning", "--no-access-log", "--no-server-header",
        "--timeout-keep-alive", "5",
        # Open event streams would otherwise hold up a stop for as long as their clients like.
        "--timeout-graceful-shutdown", "5",
    )  # fmt: skip


def _workers(plan: Plan) -> Iterator[Process]:
    for name, (module, queue) in WORKERS.items():
        for number in range(1, 1 + (plan.preprocess_workers if queue == "preprocess" else 1)):
            suffix = "" if number == 1 else f"-{number}"
            command = (
                sys.executable, "-m", "celery", "-A", module, "worker",
                "-P", "solo", "-Q", queue, "-n", f"{queue}{suffix}@%h", "--loglevel", "INFO",
                "--without-gossip", "--without-mingle", "--without-heartbeat",
            )  # fmt: skip
            yield Process(name + suffix, command, stop_wait_s=25)


def _sweeper() -> Process:
    return Process("sweeper", (sys.executable, "-m", "shared.jobs.sweeper"))
