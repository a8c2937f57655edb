"""What this start will run: decided once from the environment, the data folder and the free ports."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.console import CannotStart
from deploy.embedded.credentials import Credentials
from deploy.embedded.folder import DataFolder
from deploy.embedded.ports import is_free, remember_ports

SERVICES = ("preprocess", "generator", "evaluator", "classifier")
BUCKET = "synthmri"
_MOST_WORKERS_UNASKED, _MOST_WORKERS = 4, 64


@dataclass(frozen=True)
class Plan:
    """One start of the platform.

    Attributes:
        runs_redis: False when SYNTHMRI_REDIS_URL names an external server.
        runs_s3: False when SYNTHMRI_S3_ENDPOINT names an external server.
        ports: internal loopback ports by name: "redis", "s3" and the services.
        preprocess_workers: workers that share a preprocessing job; Python's lock leaves one process about one core.
    """

    folder: DataFolder
    host: str
    port: int
    ports: Mapping[str, int]
    runs_redis: bool
    runs_s3: bool
    preprocess_workers: int = 1

    @property
    def url(self) -> str:
        """Where a person on this machine finds the gateway."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 a comparison, not a bind
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def folder_from(environ: Mapping[str, str]) -> DataFolder:
    """The data folder named by SYNTHMRI_DATA_DIR, `.synthmri` in the current folder by default."""
    return DataFolder(Path(environ.get("SYNTHMRI_DATA_DIR") or ".synthmri").absolute())


def make_plan(folder: DataFolder, environ: Mapping[str, str]) -> Plan:
    """Decide addresses and ports; the gateway's port is the user's, the others are found.

    Raises:
        CannotStart: SYNTHMRI_PORT is no port or is taken, or SYNTHMRI_PREPROCESS_WORKERS is no sensible number.
    """
    host = environ.get("SYNTHMRI_HOST") or "127.0.0.1"
    port = _read_port(environ.get("SYNTHMRI_PORT") or "8000")
    if not is_free(host, port):
        raise CannotStart(
            f"Port {port} on {host} is taken by another program; choose another one: export SYNTHMRI_PORT=8080."
        )
    return Plan(
        folder=folder,
        host=host,
        port=port,
        ports=remember_ports(folder.ports, ("redis", "s3", *SERVICES), avoid={port}),
        runs_redis=not environ.get("SYNTHMRI_REDIS_URL"),
        runs_s3=not environ.get("SYNTHMRI_S3_ENDPOINT"),
        preprocess_workers=_read_workers(environ.get("SYNTHMRI_PREPROCESS_WORKERS")),
    )


def child_environment(plan: Plan, credentials: Credentials, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process: the caller's, with addresses and secrets of what this platform runs itself."""
    ours = {
        "SYNTHMRI_DATA_DIR": str(plan.folder.root),
        "SYNTHMRI_HOST": plan.host,
        "SYNTHMRI_PORT": str(plan.port),
        "SYNTHMRI_INTERNAL_TOKEN": environ.get("SYNTHMRI_INTERNAL_TOKEN") or credentials.internal_token,
        "SYNTHMRI_DATABASE_URL": environ.get("SYNTHMRI_DATABASE_URL") or f"sqlite:///{plan.folder.database}",
    }
    ours |= {f"SYNTHMRI_{name.upper()}_URL": f"http://127.0.0.1:{plan.ports[name]}" for name in SERVICES}
    if plan.runs_redis:
        ours["SYNTHMRI_REDIS_URL"] = f"redis://:{credentials.redis_password}@127.0.0.1:{plan.ports['redis']}/0"
    if plan.runs_s3:
        ours |= {
            "SYNTHMRI_S3_ENDPOINT": f"127.0.0.1:{plan.ports['s3']}",
            "SYNTHMRI_S3_ACCESS_KEY": credentials.s3_access_key,
            "SYNTHMRI_S3_SECRET_KEY": credentials.s3_secret_key,
            "SYNTHMRI_S3_BUCKET": BUCKET,
            "SYNTHMRI_S3_SECURE": "false",
            # rclone reads its flags from the environment too, which keeps the secret out of `ps`.
            "RCLONE_AUTH_KEY": f'"{credentials.s3_access_key},{credentials.s3_secret_key}"',
        }
    return {**environ, **_quiet_libraries(environ), **ours}


def _quiet_libraries(environ: Mapping[str, str]) -> dict[str, str]:
    """Defaults that a caller's own setting wins over."""
    defaults = {
        "PYTHONUNBUFFERED": "1",  # a log line is in the file when it is written, also before a kill -9
        "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's start-up notes about CPU features
        # Idle OpenMP threads spin by default and starve whatever else wants the core: with other work on two cores a
        # training made 0.07 steps/s spinning and 4.3 sleeping.
        "OMP_WAIT_POLICY": "PASSIVE",
        "MALLOC_ARENA_MAX": "2",  # glibc keeps up to 8 arenas per core, each with its own unreturned memory
    }
    return {name: value for name, value in defaults.items() if name not in environ}


def _read_workers(text: str | None) -> int:
    """How many preprocessing workers to run; one for each core, at most four, if nobody says."""
    if not text:
        return min(_MOST_WORKERS_UNASKED, os.cpu_count() or 1)
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_WORKERS:
        raise CannotStart(f"SYNTHMRI_PREPROCESS_WORKERS={text} must be a number from 1 to {_MOST_WORKERS}.")
    return int(text)


def _read_port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise CannotStart(f"SYNTHMRI_PORT={text} is not a port; use a number from 1 to 65535.")
    port = int(text)
    if port < 1024 and os.geteuid() != 0:
        raise CannotStart(f"SYNTHMRI_PORT={port} needs root rights; use a number from 1024 to 65535.")
    return port
