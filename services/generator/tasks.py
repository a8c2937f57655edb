"""The generator's Celery tasks; each does one shard of a job. The worker's command line names its queue."""

from shared.jobs.gpu import run_on_gpu
from shared.queue import worker_app

celery = worker_app("generator")


@celery.task(name="diffusion.train")
def train(job_id: str, shard: int) -> bool:
    """Train the diffusion model of a job."""
    from services.generator import train_jobs

    return run_on_gpu(job_id, shard, finish=train_jobs.finish_training)


@celery.task(name="diffusion.keep")
def keep(job_id: str, shard: int) -> bool:
    """Make a model of what a stopped training has learned."""
    from services.generator import keep_jobs

    return run_on_gpu(job_id, shard, finish=keep_jobs.finish_keeping)


@celery.task(name="diffusion.import")
def take_in(job_id: str, shard: int) -> bool:
    """Make a model of weights that came from elsewhere."""
    from services.generator import import_jobs

    return run_on_gpu(job_id, shard, finish=import_jobs.finish_import)


@celery.task(name="diffusion.sample")
def sample(job_id: str, shard: int) -> bool:
    """Draw one shard of a job's images, or put the set together."""
    from services.generator import sample_jobs

    return run_on_gpu(job_id, shard, work=sample_jobs.draw_images, finish=sample_jobs.finish_generation)


@celery.task(name="diffusion.regenerate")
def regenerate(job_id: str, shard: int) -> bool:
    """Draw one shard of the images again, or compare them."""
    from services.generator import redraw_jobs, sample_jobs

    return run_on_gpu(job_id, shard, work=sample_jobs.draw_images, finish=redraw_jobs.finish_regeneration)


@celery.task(name="diffusion.calibrate")
def calibrate(job_id: str, shard: int) -> bool:
    """Measure one setting of a model's samplers, or put the report together."""
    from services.generator import calibrate_jobs

    return run_on_gpu(job_id, shard, work=calibrate_jobs.measure_setting, finish=calibrate_jobs.finish_calibration)
