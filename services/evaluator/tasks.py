"""The worker edge of the evaluator: `celery -A services.evaluator.tasks worker -P solo -Q evaluate`."""

from shared.jobs.gpu import run_on_gpu
from shared.jobs.runner import run_shard
from shared.queue import worker_app

celery = worker_app("evaluator")


@celery.task(name="evaluate")
def evaluate(job_id: str, shard: int) -> bool:
    """Measure one synthetic set against one real set."""
    from services.evaluator import evaluation_jobs

    return run_on_gpu(job_id, shard, finish=evaluation_jobs.finish_evaluation)


@celery.task(name="audit")
def audit(job_id: str, shard: int) -> bool:
    """Audit one class of a synthetic set, or its use for one training, or put the report together."""
    from services.evaluator import audit_jobs

    return run_on_gpu(job_id, shard, work=audit_jobs.audit_part, finish=audit_jobs.finish_audit)


@celery.task(name="exclude")
def exclude(job_id: str, shard: int) -> bool:
    """Make a set without some images of another."""
    from services.evaluator import exclude_jobs

    return run_shard(job_id, shard, finish=exclude_jobs.finish_exclusion)
