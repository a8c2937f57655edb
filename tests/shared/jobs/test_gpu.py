"""Workers of several kinds share a GPU: what one no longer needs goes back, and one whose GPU broke ends.

There is no GPU where these tests run, so that torch is told it had one; what is asked of it is seen.
"""

import subprocess
import sys
import weakref
from typing import Any

import pytest
import torch

from shared.database import Database
from shared.jobs.gpu import GPU_BROKEN_EXIT_CODE, run_on_gpu
from shared.jobs.progress import STALLED_EXIT_CODE
from shared.jobs.runner import Execution
from shared.jobs.store import JobStore, NewJob
from shared.jobs.sweeper import recover_lost_shards
from shared.objects import ObjectStore
from tests.support.workers import ROOT, wait_for

pytestmark = pytest.mark.services
BREAKING = """
import sys
import torch
from shared.jobs.gpu import run_on_gpu

def synchronize():
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

def work(execution):
    raise ValueError("whatever the broken GPU made of it")

torch.cuda.is_initialized, torch.cuda.synchronize = lambda: True, synchronize
run_on_gpu(sys.argv[1], 0, finish=work)
"""


class Held:
    """What lies in memory."""


def test_what_failed_work_held_is_free_when_the_memory_is_given_back(
    database: Database, objects: ObjectStore, jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Held]] = []
    given_back: list[Held | None] = []

    def fail(execution: Execution) -> list[Any]:
        mine = Held()
        held.append(weakref.ref(mine))
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        except torch.OutOfMemoryError as error:
            cycle = [error, mine]  # The error's frame knows the error.
            raise RuntimeError(len(cycle)) from error

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.extend(each() for each in held))
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}))
    assert run_on_gpu(job_id, 0, finish=fail)
    assert jobs.get(job_id, "team")["error"]["code"] == "internal"
    assert given_back == [None]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_whose_gpu_broke_ends_and_another_does_the_shard(
    database: Database, objects: ObjectStore, jobs: JobStore
) -> None:
    job_id, _ = jobs.create(NewJob("evaluate", "team", {}))
    command = [sys.executable, "-c", BREAKING, job_id]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == GPU_BROKEN_EXIT_CODE != STALLED_EXIT_CODE, ended.stderr
    assert "gpu_broke" in ended.stdout + ended.stderr
    assert "whatever the broken GPU made of it" in ended.stdout + ended.stderr
    assert jobs.get(job_id, "team")["status"] == "running"  # and has not failed
    wait_for(lambda: recover_lost_shards(database, 3) == (1, 0))
    assert run_on_gpu(job_id, 0, finish=lambda _: [])
    assert jobs.get(job_id, "team")["status"] == "succeeded"
