"""The Progress that job runners hand to science: a claim kept alive by a thread, with writes at most once a second."""

import threading
import time
from types import TracebackType
from typing import Any, Self

from shared.errors import SynthMRIError
from shared.jobs.claims import Claim, Claims
from shared.jobs.states import FINAL, JobStatus
from shared.logs import get_log
from shared.progress import Cancelled, Stopping

LOOK_EVERY_S = 0.05
"""How old the last look at the job's row may be, seconds; a step that takes longer sees a cancel at its next start."""
WRITE_EVERY_S = 1.0

_stopping = threading.Event()
log = get_log(__name__)


class ClaimLost(Exception):
    """Another worker has the shard now, or the job ended otherwise; what this one makes is dropped."""


def stop_working() -> None:
    """Ask every running task of this process to hand its work back at its next step."""
    _stopping.set()


def go_on_working() -> None:
    """Forget an earlier `stop_working`; for tests that start several workers in one process."""
    _stopping.clear()


class JobProgress:
    """Progress of one claim; used as a context manager around the work.

    Args:
        heartbeat_s: how often the claim is renewed when nothing else is written, seconds.
    """

    def __init__(self, claims: Claims, claim: Claim, heartbeat_s: float) -> None:
        self._claims = claims
        self._claim = claim
        self._heartbeat_s = heartbeat_s
        self._done, self._total = 0, 0
        self._changed_at = time.monotonic()
        self._notes: dict[str, Any] = {}
        self._written: tuple[int, int, dict[str, Any]] | None = None
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._looked_at = 0.0
        self._thread = threading.Thread(target=self._keep_alive, name=f"heartbeat-{claim.job_id}", daemon=True)

    def update(self, done: int, total: int) -> None:
        """Record progress in memory; the heartbeat thread writes it."""
        if int(done) != self._done:
            self._changed_at = time.monotonic()
        self._done, self._total = int(done), int(total)

    def note(self, **facts: float | int | str) -> None:
        """Record small facts in memory; the heartbeat thread writes them."""
        self._notes = {**self._notes, **facts}

    def raise_if_cancelled(self) -> None:
        """Look at the row, unless that was done a moment ago, and raise if the work is not wanted any more."""
        if _stopping.is_set():
            raise Stopping
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._look()

    def _look(self) -> None:
        try:
            standing = self._claims.standing(self._claim)
        except SynthMRIError:
            return  # the database is away; the lease decides what becomes of the claim
        self._looked_at = time.monotonic()
        if standing == JobStatus.CANCELLED:
            raise Cancelled
        if standing is None or standing in FINAL:
            raise ClaimLost

    def write(self) -> None:
        """Write progress and renew the lease now."""
        state = (self._done, self._total, self._notes)
        if not self._claims.beat(self._claim, *state, age_s=time.monotonic() - self._changed_at):
            self._lost.set()
        self._written = state

    def _keep_alive(self) -> None:
        beaten_at = time.monotonic()
        while not self._ended.wait(min(WRITE_EVERY_S, self._heartbeat_s)):
            changed = (self._done, self._total, self._notes) != self._written
            if not changed and time.monotonic() - beaten_at < self._heartbeat_s:
                continue
            try:
                self.write()
                beaten_at = time.monotonic()
            except SynthMRIError as error:
                log.warning("heartbeat_failed", code=error.code)
            if self._lost.is_set():
                return  # the next look at the row says why

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
