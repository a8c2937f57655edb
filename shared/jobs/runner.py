"""Run one shard: claim it, keep the claim alive, call the work, store what came out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.artifacts.store import ArtifactStore, DraftArtifact, get_artifacts
from shared.database import get_database
from shared.errors import (
    ObjectDamaged,
    ObjectNotFound,
    QueueUnavailable,
    StorageFull,
    SynthMRIError,
    Unavailable,
)
from shared.jobs.claims import Claim, Claims
from shared.jobs.files import JobFile, check_file_name
from shared.jobs.progress import ClaimLost, JobProgress
from shared.jobs.states import OPEN
from shared.logs import get_log, log_context
from shared.objects import ObjectStore, blob_key, get_objects
from shared.progress import Cancelled, Stopping
from shared.queue import send
from shared.settings import get_settings

MAX_DELAYS = 12
"""How often a shard waits for something that is down before its job fails: about half an hour in all."""
INSIST_S = 60.0
"""How long a worker tries to hand in a finished result while the database is away, seconds."""

log = get_log(__name__)


@dataclass(frozen=True)
class Execution:
    """What the work of one shard may use.

    Args:
        request: the job's full request.
        shard: this shard's number; `spec` is what the job's maker put into it.
        results: what the shards of all earlier stages left, in their order; empty in the first stage.
    """

    job_id: str
    kind: str
    owner: str
    request: dict[str, Any]
    shard: int
    spec: dict[str, Any]
    results: list[dict[str, Any]]
    progress: JobProgress
    objects: ObjectStore
    artifacts: ArtifactStore
    claim: Claim
    claims: Claims
    bundles: list[str] = field(default_factory=list)

    def save_resume(self, data: bytes) -> None:
        """Store a resume bundle durably; whoever works on this shard next gets it from `load_resume`.

        While the job is open, all but the two newest bundles of this execution are removed. Once it has ended, a
        retry or a keep may have taken any of them, so what nobody took is left to the garbage collector.

        Raises:
            ClaimLost: another worker has the shard now.
        """
        sha256 = self.objects.put_blob(data)
        status = self.claims.save_resume(self.claim, sha256)
        if status is None:
            raise ClaimLost
        # The bundle this execution began with may be another job's.
        if sha256 != self.claim.resume_sha256:
            self.bundles[:] = [earlier for earlier in self.bundles if earlier != sha256] + [sha256]
        if status not in OPEN:
            return
        for outdated in self.bundles[:-2]:
            self.objects.delete(blob_key(outdated))
            self.bundles.remove(outdated)

    def publish(self, name: str, data: bytes) -> None:
        """Show `data` as a file of the job, at once and for as long as the job is known.

        A file of the same name is replaced; of more than `files.MAX_FILES` the oldest is forgotten.

        Args:
            name: 1 to 100 letters, digits, dots, hyphens and underscores; its ending says what it is: `epoch-10.png`.

        Raises:
            ClaimLost: another worker has the shard now.
        """
        name = check_file_name(name)
        file = JobFile(name, self.objects.put_blob(data), len(data))
        if not self.claims.publish(self.claim, file):
            raise ClaimLost

    def load_resume(self) -> bytes | None:
        """The newest resume bundle of this shard as it was when the shard was claimed, or None.

        A bundle that is gone or damaged is None too; the job's note `resume` then says that the work starts anew.
        """
        if self.claim.resume_sha256 is None:
            return None
        try:
            return self.objects.get_blob(self.claim.resume_sha256)
        except (ObjectNotFound, ObjectDamaged) as error:
            log.warning("resume_bundle_unusable", code=error.code, sha256=self.claim.resume_sha256)
            what = "missing" if isinstance(error, ObjectNotFound) else "damaged"
            name = self.claim.resume_sha256[:12]
            self.progress.note(resume=f"The saved state {name} is {what}; the work started from its beginning.")
            return None


T = TypeVar("T")
Work = Callable[[Execution], dict[str, Any]]
Finish = Callable[[Execution], list[DraftArtifact]]


def run_shard(job_id: str, number: int, *, work: Work | None = None, finish: Finish) -> bool:
    """Do one shard if it is still to be done; False if another worker has it, it is done, or its job has ended.

    Args:
        work: does one part and returns its result, a small JSON object.
        finish: runs once when all parts are done and returns the artifacts to keep.
    """
    settings = get_settings()
    claims = Claims(get_database(), settings.lease_s)
    claim = claims.claim(job_id, number)
    if claim is None:
        log.info("claim_refused", job_id=job_id, shard=number)
        return False
    following: list[int] = []
    with log_context(job_id=job_id, shard=number, request_id=claim.request_id):
        log.info("shard_started", kind=claim.kind, attempt=claim.attempt)
        started_s = time.monotonic()
        with JobProgress(claims, claim, settings.heartbeat_s, settings.stall_s) as progress:
            outcome, following = _attempt(claims, claim, progress, work, finish)
        log.info("shard_ended", outcome=outcome, seconds=round(time.monotonic() - started_s, 3))
    _send(claim.kind, job_id, following[1:])
    if following:
        run_shard(job_id, following[0], work=work, finish=finish)
    return True


def _send(kind: str, job_id: str, numbers: list[int]) -> None:
    """Tell other workers of shards that may be done now; what cannot be sent, the sweeper sends."""
    try:
        for number in numbers:
            send(kind, job_id, number)
    except QueueUnavailable:
        log.warning("message_delayed", job_id=job_id)


def _attempt(
    claims: Claims, claim: Claim, progress: JobProgress, work: Work | None, finish: Finish
) -> tuple[str, list[int]]:
    """Do the work and record its outcome; returns the outcome and the shards whose turn it is now."""
    try:
        return "succeeded", _carry_out(claims, claim, progress, work, finish)
    except Cancelled:
        return "cancelled", []
    except ClaimLost:
        return "claim_lost", []
    except Stopping:
        claims.release(claim, 0.0)
        return "handed_back", []
    except (Unavailable, StorageFull) as error:
        delays = _insist(lambda: claims.delays(claim))
        log.warning("shard_delayed", code=error.code, delays=delays)
        if delays < MAX_DELAYS:
            _insist(lambda: claims.release(claim, min(300.0, 3.0 * 2**delays)))
            return "delayed", []
        return _fail(claims, claim, error.code, error.detail)
    except SynthMRIError as error:
        log.info("shard_failed", code=error.code)
        return _fail(claims, claim, error.code, error.detail, discard_resume=error.discards_resume)
    except Exception:
        log.exception("shard_broke")
        detail = f"An unexpected error stopped the job; the worker's log has it under {claim.job_id}."
        return _fail(claims, claim, "internal", detail)


def _fail(
    claims: Claims, claim: Claim, code: str, detail: str, *, discard_resume: bool = False
) -> tuple[str, list[int]]:
    _insist(lambda: claims.fail(claim, code, detail, discard_resume=discard_resume))
    return "failed", []


def _carry_out(claims: Claims, claim: Claim, progress: JobProgress, work: Work | None, finish: Finish) -> list[int]:
    """Call `work` or `finish` and hand in the result; returns the shards whose turn it is now."""
    execution = Execution(
        job_id=claim.job_id,
        kind=claim.kind,
        owner=claim.owner,
        request=claim.request,
        shard=claim.number,
        spec=claim.spec,
        results=claims.results(claim) if claim.stage else [],
        progress=progress,
        objects=get_objects(),
        artifacts=get_artifacts(),
        claim=claim,
        claims=claims,
    )
    if not claim.finishes:
        if work is None:
            raise RuntimeError(f"job kind {claim.kind} has parts but no work for them")
        result = work(execution)
        _insist(progress.write)
        return _insist(lambda: claims.finish_shard(claim, result))
    drafts = finish(execution)
    _insist(progress.write)
    rows = [
        execution.artifacts.write_manifest(draft, owner=claim.owner, job_id=claim.job_id, request=claim.request)
        for draft in drafts
    ]
    if not _insist(lambda: claims.finish_job(claim, rows)):
        raise ClaimLost
    return []


def _insist(change: Callable[[], T]) -> T:
    """Make a change of the row even if the database is away for a while, so that hours of work are not lost."""
    deadline = time.monotonic() + INSIST_S
    while True:
        try:
            return change()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)
