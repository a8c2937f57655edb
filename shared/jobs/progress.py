"""The Progress that job runners hand to science: a claim kept alive by a thread, with writes at most once a second."""

import math
import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any, Self

from shared.errors import SynthMRIError
from shared.jobs.claims import Claim, Claims
from shared.jobs.states import FINAL, JobStatus
from shared.logs import get_log, log_context
from shared.progress import Cancelled, Stopping

LOOK_EVERY_S = 0.05
"""How old the last look at the job's row may be, seconds; a step that takes longer sees a cancel at its next start."""
WRITE_EVERY_S = 1.0
STALLED_EXIT_CODE = 86
"""With this code a worker ends itself whose work stood still; no other end of a process has it."""

_LINES_SHOWN = 12

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
        stall_s: how long the work may call nothing of this before it counts as hung, seconds; 0: for ever. The process
            then ends itself at once: only that frees what a deadlock or a GPU holds. Whoever watches the workers starts
            another, and the lease, which runs out, gives the shard back.
    """

    def __init__(self, claims: Claims, claim: Claim, heartbeat_s: float, stall_s: float) -> None:
        self._claims = claims
        self._claim = claim
        self._heartbeat_s, self._stall_s = heartbeat_s, stall_s
        self._done, self._total = 0, 0
        self._changed_at = self._seen_at = time.monotonic()
        self._worker = threading.get_ident()
        self._notes: dict[str, Any] = {}
        self._written: tuple[int, int, dict[str, Any]] | None = None
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._looked_at = 0.0
        self._thread = threading.Thread(target=self._keep_alive, name=f"heartbeat-{claim.job_id}", daemon=True)

    def update(self, done: int, total: int) -> None:
        """Record progress in memory; the heartbeat thread writes it."""
        self._seen_at = time.monotonic()
        if int(done) != self._done:
            self._changed_at = self._seen_at
        self._done, self._total = int(done), int(total)

    def note(self, **facts: float | int | str) -> None:
        """Record small facts in memory; the heartbeat thread writes them. JSON has no NaN and no infinity: None."""
        self._seen_at = time.monotonic()
        self._notes = {**self._notes, **{name: _or_none(fact) for name, fact in facts.items()}}

    def raise_if_cancelled(self) -> None:
        """Look at the row, unless that was done a moment ago, and raise if the work is not wanted any more."""
        self._seen_at = time.monotonic()
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
        """Renew the lease, and see to it that the work moves; a lost claim too, whose worker may hang all the same."""
        beaten_at = time.monotonic()
        with log_context(job_id=self._claim.job_id, shard=self._claim.number):
            while not self._ended.wait(min(WRITE_EVERY_S, self._heartbeat_s)):
                self._end_if_stalled()
                changed = (self._done, self._total, self._notes) != self._written
                due = changed or time.monotonic() - beaten_at >= self._heartbeat_s
                # Of a lost claim the next look at the row says why.
                if due and not self._lost.is_set() and self._beat():
                    beaten_at = time.monotonic()

    def _beat(self) -> bool:
        """Write, whatever comes of it: a heartbeat that ended would cost a living worker its claim."""
        try:
            self.write()
        except SynthMRIError as error:
            log.warning("heartbeat_failed", code=error.code)
        except Exception:
            log.exception("heartbeat_broke")
        else:
            return True
        return False

    def _end_if_stalled(self) -> None:
        silent_s = time.monotonic() - self._seen_at
        if not self._stall_s or silent_s < self._stall_s:
            return
        try:
            log.error("job_stalled", seconds=round(silent_s, 1), at=_where(self._worker))
        finally:
            os._exit(STALLED_EXIT_CODE)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()


def _or_none(fact: float | int | str) -> float | int | str | None:
    return None if isinstance(fact, float) and not math.isfinite(fact) else fact


def _where(thread: int) -> list[str]:
    """The innermost lines that `thread` is at, without any value: `shared/objects.py:150 get`."""
    frames = traceback.extract_stack(sys._current_frames().get(thread), limit=_LINES_SHOWN)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
