"""`up`: from an empty folder, or from one that was used before, to a platform that answers."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.embedded.api_key import prepare_database
from deploy.embedded.console import say
from deploy.embedded.credentials import Credentials, load_credentials
from deploy.embedded.folder import DataFolder, write_private
from deploy.embedded.plan import BUCKET, Plan, child_environment, folder_from, make_plan
from deploy.embedded.processes import (
    Process,
    list_processes,
    redis_configuration,
    redis_configuration_path,
)
from deploy.embedded.programs import require_packages
from deploy.embedded.readiness import await_ready
from deploy.embedded.supervision import launch, stop, supervisor_configuration

PACKAGES = ("supervisor", "uvicorn", "celery", "cv2", "torch", "monai", "tensorflow", "keras", "minio")


def up(environ: Mapping[str, str]) -> None:
    """Start the platform of SYNTHMRI_DATA_DIR and return when it is ready; a platform that runs is left alone.

    Raises:
        CannotStart: it cannot start; nothing is left running.
    """
    began = time.monotonic()
    folder = folder_from(environ)
    require_packages(PACKAGES)
    folder.create()
    with folder.alone():
        if folder.is_running():
            say(f"SynthMRI is already running at {folder.read_state().get('url', 'an unknown address')}.")
            return
        plan = make_plan(folder, environ)
        credentials = load_credentials(folder.credentials)
        environment = child_environment(plan, credentials, environ)
        processes = list_processes(plan)
        _prepare(plan, credentials, environment, processes)
        _start(plan, environment)
    key = os.path.relpath(folder.api_key)
    say(f"SynthMRI is ready at {plan.url} (API key in {key}) after {time.monotonic() - began:.1f} s.")


def _prepare(
    plan: Plan, credentials: Credentials, environment: Mapping[str, str], processes: Sequence[Process]
) -> None:
    """Everything that is made before the first process: configuration files, bucket, tables, API key."""
    folder = plan.folder
    if plan.runs_redis:
        write_private(redis_configuration_path(plan), redis_configuration(plan, credentials.redis_password))
    if plan.runs_s3:
        (folder.s3 / BUCKET).mkdir(mode=0o700, exist_ok=True)
        remove_broken_uploads(folder.s3)
    write_private(_configuration_path(folder), supervisor_configuration(folder, processes))
    # This process uses the platform's own code from here on, which reads its settings from the environment.
    os.environ.update(environment)
    prepare_database(folder.api_key)
    folder.write_state({"url": plan.url, "processes": [process.name for process in processes]})


def _start(plan: Plan, environment: Mapping[str, str]) -> None:
    """Launch supervisord and wait; on any failure, and on Ctrl-C, stop everything again."""
    supervisor = launch(plan.folder, _configuration_path(plan.folder), environment)
    try:
        await_ready(plan)
    except BaseException:
        stop(plan.folder)
        supervisor.wait()
        raise
    # It outlives this command on purpose; without this, Popen would warn about it.
    supervisor.returncode = 0


def remove_broken_uploads(root: Path) -> int:
    """Delete what rclone left of uploads that a kill cut short, and count it; no server of `root` may run.

    They are named `.rclone_temp_*`, hold no acknowledged data and are hidden from listings (`rclone serve s3 --help`).
    """
    broken = [path for path in root.rglob(".rclone_temp_*") if path.is_file()]
    for path in broken:
        path.unlink()
    return len(broken)


def _configuration_path(folder: DataFolder) -> Path:
    return folder.run / "supervisord.conf"
