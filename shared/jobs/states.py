"""The states of a job and of its shards, and which changes are allowed.

    queued -> running -> succeeded | failed | cancelled
    queued -> cancelled
    running -> queued          only when the lease is lost or the worker hands the work back

A shard that must wait for others (of a later stage, or finishing) starts as `waiting`. Final states never change.
"""

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ShardStatus(StrEnum):
    """Where a shard stands; a shard of a finished job is never claimed again, whatever its status."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"


OPEN = (JobStatus.QUEUED, JobStatus.RUNNING)
FINAL = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)

QUEUES = {
    "preprocess": "preprocess",
    "diffusion.train": "diffusion.train",
    "diffusion.sample": "diffusion.sample",
    "diffusion.regenerate": "diffusion.sample",
    "diffusion.calibrate": "diffusion.sample",
    "diffusion.keep": "diffusion.sample",
    "diffusion.import": "diffusion.sample",
    "evaluate": "evaluate",
    "audit": "evaluate",
    "exclude": "evaluate",
    "classifier.train": "classifier.train",
    "scenario": "classifier.train",
}
"""Job kind (which is also the Celery task name) -> queue. Training and sampling never share one."""
