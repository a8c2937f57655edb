"""The generator's Celery tasks; each does one shard of a job. The worker's command line names its queue."""

from shared.jobs.runner import run_shard
from shared.queue import worker_app

celery = worker_app("generator")


@celery.task(name="diffusion.train")
def train(job_id: str, shard: int) -> None:
    """Train the diffusion model of a job."""
    from services.generator import service

    run_shard(job_id, shard, finish=service.finish_training)


@celery.task(name="diffusion.sample")
def sample(job_id: str, shard: int) -> None:
    """Draw one shard of a job's images, or put the set together."""
    from services.generator import service

    run_shard(job_id, shard, work=service.draw_images, finish=service.finish_generation)
