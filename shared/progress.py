"""The two verbs that join science to infrastructure: say how far the work is, and ask whether to go on.

A science loop takes a `Progress`, calls `update` as often as it likes and `raise_if_cancelled` once per denoising step,
batch or image. It knows nothing of queues, rows or workers; the object that the job runner passes in does.
"""

from typing import Protocol


class Cancelled(Exception):
    """The user cancelled the job; an outcome, not an error."""


class Stopping(Exception):
    """The worker is being stopped; the work is handed back to the queue and goes on elsewhere."""


class Progress(Protocol):
    """What a science loop may ask of whoever runs it."""

    def update(self, done: int, total: int) -> None:
        """Record that `done` of `total` units are finished; cheap, writes are throttled behind it."""

    def note(self, **facts: float | int | str) -> None:
        """Record small facts worth seeing while the work runs, for example `loss=0.013`."""

    def raise_if_cancelled(self) -> None:
        """Return at once, or raise `Cancelled` or `Stopping`."""


class NoProgress:
    """Progress for callers that need none: scripts, notebooks and unit tests."""

    def update(self, done: int, total: int) -> None:
        """Forget the numbers."""

    def note(self, **facts: float | int | str) -> None:
        """Forget the facts."""

    def raise_if_cancelled(self) -> None:
        """Go on."""
