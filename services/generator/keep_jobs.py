"""Keep what a cancelled or failed training has learned, as a model whose card says that it was stopped.

Torch is imported inside the functions that work, so that the api and an idle worker start light.
"""

from services.generator.models.preset import Preset
from services.generator.sources import find_training_images, note_leakage
from services.generator.train_jobs import classes_of, describe_images, draft_model
from services.generator.training.data import plan_training
from shared.artifacts.store import DraftArtifact
from shared.database import get_database
from shared.errors import Conflict, InvalidInput
from shared.jobs.runner import Execution
from shared.jobs.states import JobStatus
from shared.jobs.store import JobStore
from shared.jobs.submission import Accepted, Caller, submit


class NotATraining(InvalidInput):
    """The job named is not the training of a diffusion model."""


class TrainingNotStopped(Conflict):
    """The training still goes on, or it ended with a model of its own."""


class NothingLearnedYet(Conflict):
    """The training was stopped before it saved anything."""


def start_keeping(caller: Caller, job_id: str, name: str | None) -> Accepted:
    """Submit the making of a model from what a stopped training saved last.

    The request names the saved state by its hash, which garbage collection then spares.

    Raises:
        JobNotFound, NotATraining, TrainingNotStopped, NothingLearnedYet: at once.
    """
    store = JobStore(get_database())
    job = store.get(job_id, caller.owner)
    if job["kind"] != "diffusion.train":
        raise NotATraining(f"Job {job_id} is of kind {job['kind']}; name one of kind diffusion.train.")
    if job["status"] == JobStatus.SUCCEEDED:
        raise TrainingNotStopped(f"Training {job_id} succeeded; its model is {job['artifacts'][0]['id']}.")
    if job["status"] not in (JobStatus.CANCELLED, JobStatus.FAILED):
        raise TrainingNotStopped(f"Training {job_id} is {job['status']}; cancel it first to keep what it has learned.")
    bundle = store.resume_bundle(job_id)
    if bundle is None:
        raise NothingLearnedYet(
            f"Training {job_id} has saved nothing; if it was cancelled a moment ago, try again in a few seconds."
        )
    request = {
        "job": job_id,
        "bundle": bundle,
        "status": job["status"],
        "training": job["request"],
        "files": {file["name"]: file["sha256"] for file in job["files"]},
        "name": name or f"{job['request']['name']} (stopped)",
    }
    return submit(caller, "diffusion.keep", request, unit="model")


def finish_keeping(execution: Execution) -> list[DraftArtifact]:
    """The model that `start_keeping` asked for.

    Raises:
        NothingLearnedYet: the saved state is of before the first update.
        WeightsNotFinite: the training had diverged.
    """
    from services.generator.models.interchange import WeightsNotFinite
    from services.generator.training.resume import read_resume
    from services.generator.training.trained_model import TrainedModel

    request, training = execution.request, execution.request["training"]
    preset = Preset.model_validate(training["preset"])
    image_set = execution.artifacts.get(training["image_set"], execution.owner, "image_set")
    images = find_training_images(image_set, training.get("corrections"))
    plan = plan_training(images, classes_of(training, preset), preset, training["seed"])
    training = {"n_images": len(plan.training), **training}  # An older version's request does not say it.
    state = read_resume(execution.objects.get_blob(request["bundle"]))
    model = TrainedModel.of_state(state, preset, training["n_images"])
    if not model.n_updates:
        raise NothingLearnedYet(f"Training {request['job']} was stopped before its first update.")
    if not model.is_finite():
        raise WeightsNotFinite(
            f"Training {request['job']} had diverged to NaN or infinite weights when it stopped, so there is nothing "
            f"to keep; train again with a smaller learning_rate than {preset.learning_rate}."
        )
    planned = preset.count_updates(training["n_images"])
    how = "was cancelled" if request["status"] == JobStatus.CANCELLED else "failed"
    said = f"Training {request['job']} {how} after {model.n_updates} of {planned} updates; these are its weights then."
    leaks = note_leakage(image_set, training.get("leakage_waiver"), training.get("crossing_patients", ()))
    notes = [said, *leaks]
    described = {**describe_images(images, plan), "planned_updates": planned, "notes": notes}
    return [draft_model(execution, {**training, "name": request["name"]}, model, described, request["files"])]
