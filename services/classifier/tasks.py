"""The classifier's worker: one Celery task per job kind, each an id in and a row out."""

from services.classifier import jobs
from shared.jobs.runner import run_shard
from shared.queue import worker_app

celery = worker_app("classifier")


@celery.task(name="classifier.train")
def train(job_id: str, shard: int) -> bool:
    """Train and test one classifier."""
    return run_shard(job_id, shard, finish=jobs.finish_training)


@celery.task(name="scenario")
def scenario(job_id: str, shard: int) -> bool:
    """Train one classifier of a scenario, or write the scenario's report."""
    return run_shard(job_id, shard, work=jobs.run_scenario_part, finish=jobs.finish_scenario)
