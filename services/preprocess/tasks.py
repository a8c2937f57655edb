"""The worker edge of the preprocess service: `celery -A services.preprocess.tasks worker -P solo -Q preprocess`."""

from shared.jobs.runner import run_shard
from shared.queue import worker_app

celery = worker_app("preprocess")


@celery.task(name="preprocess")
def preprocess(job_id: str, shard: int) -> None:
    """Prepare one shard of a raw image set, or put the set and its report together."""
    from services.preprocess import service

    run_shard(job_id, shard, work=service.prepare_shard, finish=service.finish_preprocessing)
