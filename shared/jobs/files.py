"""Files of a job: what its work shows while it goes on, such as a sheet of samples; kept as long as the job's row."""

import re
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from shared.database import now_s
from shared.errors import NotFound
from shared.jobs.tables import JobFileRow
from shared.logs import get_log

MAX_FILES: Final = 500
"""The newest files of a job that are kept; one more, and the oldest is forgotten."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

log = get_log(__name__)


class JobFileNotFound(NotFound):
    """The job has no file of this name."""


@dataclass(frozen=True)
class JobFile:
    """One file of a job."""

    name: str
    sha256: str
    size_bytes: int

    def view(self, job_id: str) -> dict[str, Any]:
        """The file as the API shows it."""
        return {**vars(self), "url": f"/jobs/{job_id}/files/{self.name}"}


def check_file_name(name: str) -> str:
    """`name`, if it can stand in a URL and in a folder as it is.

    Raises:
        ValueError: it is something else than 1 to 100 letters, digits, dots, hyphens and underscores.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a file of a job")
    return name


def record_file(session: Session, job_id: str, file: JobFile) -> None:
    """Add `file` to a job whose row is locked; one of the same name is replaced, the oldest of too many forgotten."""
    ours = JobFileRow.job_id == job_id
    session.execute(delete(JobFileRow).where(ours, JobFileRow.name == file.name))
    oldest = (JobFileRow.published_at, JobFileRow.name)
    names = list(session.scalars(select(JobFileRow.name).where(ours).order_by(*oldest)))
    if outdated := names[: max(0, len(names) + 1 - MAX_FILES)]:
        session.execute(delete(JobFileRow).where(ours, JobFileRow.name.in_(outdated)))
        log.warning("job_files_forgotten", job_id=job_id, n=len(outdated))
    session.add(JobFileRow(job_id=job_id, **vars(file), published_at=now_s()))


def files_of_job(session: Session, job_id: str) -> list[JobFile]:
    """The files of a job, by name."""
    rows = session.scalars(select(JobFileRow).where(JobFileRow.job_id == job_id).order_by(JobFileRow.name))
    return [JobFile(row.name, row.sha256, row.size_bytes) for row in rows]


def take_over_files(session: Session, old_job_id: str, job_id: str) -> None:
    """Give a job that goes on with another's work the files of that one too."""
    for row in session.scalars(select(JobFileRow).where(JobFileRow.job_id == old_job_id)):
        file = JobFile(row.name, row.sha256, row.size_bytes)
        session.add(JobFileRow(job_id=job_id, **vars(file), published_at=row.published_at))


def pick_file(files: list[JobFile], name: str) -> JobFile:
    """The file of this name.

    Raises:
        JobFileNotFound: there is none.
    """
    for file in files:
        if file.name == name:
            return file
    there = ", ".join(file.name for file in files[:20]) or "none yet"
    more = f" and {len(files) - 20} more" if len(files) > 20 else ""
    raise JobFileNotFound(f"This job has no file {name[:80]!r}; it has {there}{more}.")
