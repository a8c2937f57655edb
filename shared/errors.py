"""Every error a user can meet, as one tree; each becomes an RFC 9457 problem document.

    SynthMRIError
     +-- InvalidInput (422)        the request or a file in it is wrong
     +-- Unauthenticated (401)     no key, or a key that is not valid
     +-- Forbidden (403)           the key lacks the scope
     +-- NotFound (404)            no such artifact, job or model, or not yours
     +-- Conflict (409)            the state does not allow it
     +-- TooLarge (413)            above a limit of bytes
     +-- UnsupportedType (415)     a kind of file the platform does not read
     +-- RateLimited (429)         too many requests
     +-- Unavailable (503)         something the platform needs is down
     +-- StorageFull (507)         the disk or bucket has no room left

Services define their own leaves beside the code that raises them. An error is a statement about what is wrong
(`CheckpointNotFound`), its code is the class name in snake_case, its detail a sentence a researcher can act on.
"""

import re
from typing import Any, ClassVar


class SynthMRIError(Exception):
    """Base of all errors whose text may be shown to a user.

    Args:
        detail: one or two sentences: what is wrong and what to do about it.
        **extra: further JSON members of the problem document, for example `valid=["glioma", ...]`.
    """

    status: ClassVar[int] = 500
    discards_resume: ClassVar[bool] = False
    """Whether the work failed because of its resume bundle, so that a retry must start without one."""

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra

    @property
    def code(self) -> str:
        """The stable machine-readable name: the class name in snake_case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 body of this error."""
        title = self.code.replace("_", " ").capitalize()
        return {
            "type": f"urn:synthmri:error:{self.code}",
            "title": title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.extra,
        }


class InvalidInput(SynthMRIError):
    """The request, or a file in it, cannot be used as it is."""

    status = 422


class Unauthenticated(SynthMRIError):
    """No API key, or one that is unknown or revoked."""

    status = 401


class Forbidden(SynthMRIError):
    """The API key does not carry the scope this call needs."""

    status = 403


class NotFound(SynthMRIError):
    """No such thing, or it belongs to somebody else."""

    status = 404


class Conflict(SynthMRIError):
    """The thing exists but its state does not allow this."""

    status = 409


class TooLarge(SynthMRIError):
    """More bytes than the platform accepts."""

    status = 413


class UnsupportedType(SynthMRIError):
    """A kind of file that the platform does not read."""

    status = 415


class RateLimited(SynthMRIError):
    """Too many requests in too short a time."""

    status = 429


class Unavailable(SynthMRIError):
    """Something the platform needs does not answer; the same request may succeed later."""

    status = 503


class StorageFull(SynthMRIError):
    """The object store or the disk has no room left."""

    status = 507


class ImageSetNotFound(NotFound):
    """No image set with this id."""


class ModelNotFound(NotFound):
    """No model with this id, or none yet of the kind that was asked for."""


class ReportNotFound(NotFound):
    """No report with this id."""


class JobNotFound(NotFound):
    """No job with this id."""


class ImageNotFound(NotFound):
    """No image of this name in the set."""


class JobAlreadyFinished(Conflict):
    """The job reached a final state; final states never change."""


class JobNotFinished(Conflict):
    """The job is still queued or running."""


class IdempotencyKeyReused(InvalidInput):
    """The Idempotency-Key was used before with another request."""


class WeightsNotInstalled(Conflict):
    """Library weights that this metric or network needs are not in the object store."""


class ObjectNotFound(NotFound):
    """No object under this key in the object store."""


class ObjectDamaged(SynthMRIError):
    """A stored object does not have the bytes its hash promises; it is reported, never served."""

    status = 502


class StorageUnavailable(Unavailable):
    """The object store does not answer."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""


class QueueUnavailable(Unavailable):
    """Redis, which carries messages and rate limits, does not answer."""


class ServiceUnavailable(Unavailable):
    """A service behind the gateway does not answer."""
