"""The worker edge of the preprocess service: `celery -A services.preprocess.tasks worker -P solo -Q preprocess`."""

from shared.jobs.runner import run_shard
from shared.queue import worker_app

celery = worker_app("preprocess")


@celery.task(name="preprocess")
def preprocess(job_id: str, shard: int) -> bool:
    """Do one shard of a raw image set, or put the prepared set and its report together."""
    from services.preprocess.jobs import run_stage
    from services.preprocess.outcome import finish_preprocessing

    return run_shard(job_id, shard, work=run_stage, finish=finish_preprocessing)
