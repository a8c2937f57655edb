"""A worker for job tests: its work counts slowly, so that tests have time to kill, cancel and watch it.

Run as `celery -A tests.support.worker_tasks worker -P solo -Q preprocess`.
"""

import os
import signal
import time

from shared.artifacts.store import DraftArtifact
from shared.jobs.runner import Execution, run_shard
from shared.queue import worker_app

celery = worker_app("tests")


def count(execution: Execution) -> dict[str, int]:
    """Count to the shard's `n`, one step each `step_s` seconds; at its first attempt, do not get past `hang_at`."""
    if execution.spec.get("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    for step in range(int(execution.spec["n"])):
        execution.progress.raise_if_cancelled()
        hangs = execution.claim.attempt == 1 and step == execution.spec.get("hang_at")
        time.sleep(600.0 if hangs else float(execution.spec["step_s"]))
        execution.progress.update(step + 1, int(execution.spec["n"]))
    return {"counted": int(execution.spec["n"])}


def report(execution: Execution) -> list[DraftArtifact]:
    """Keep the sum of all counts."""
    body = {"report": {"sum": sum(result["counted"] for result in execution.results)}}
    return [DraftArtifact("report", "analysis", "count", body)]


@celery.task(name="preprocess")
def preprocess(job_id: str, shard: int) -> bool:
    """The task that stands in for the real one."""
    return run_shard(job_id, shard, work=count, finish=report)


@celery.task(name="scenario")
def scenario(job_id: str, shard: int) -> bool:
    """A task of another kind."""
    return run_shard(job_id, shard, work=count, finish=report)


@celery.task(name="classifier.train")
def train(job_id: str, shard: int) -> bool:
    """A third kind, which shares its queue with the second."""
    return run_shard(job_id, shard, finish=lambda _: [DraftArtifact("report", "analysis", "alone", {"report": {}})])
