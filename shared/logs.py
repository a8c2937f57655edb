"""Structured logs: one JSON line per event, a constant event name, facts as keywords, ids bound once.

Log identifiers and counts, never file names, request bodies or pixels: a hospital's file names may name a patient.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


def get_log(name: str) -> Any:
    """A structlog logger; call as `log.info("event_name", fact=value)`."""
    return structlog.get_logger(name)


def configure_logs(level: str = "INFO") -> None:
    """Send structlog and the standard library's records to stderr as JSON lines at `level`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)


@contextmanager
def log_context(**facts: str | int | None) -> Iterator[None]:
    """Add `facts` (request id, job id, shard) to every line logged inside the block."""
    with structlog.contextvars.bound_contextvars(**{k: v for k, v in facts.items() if v is not None}):
        yield
