"""The worker edge of the evaluator: `celery -A services.evaluator.tasks worker -P solo -Q evaluate`."""

from shared.jobs.runner import run_shard
from shared.queue import worker_app

celery = worker_app("evaluator")


@celery.task(name="evaluate")
def evaluate(job_id: str, shard: int) -> bool:
    """Measure one synthetic set against one real set."""
    from services.evaluator import evaluation_jobs

    return run_shard(job_id, shard, finish=evaluation_jobs.finish_evaluation)
