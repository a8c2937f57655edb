"""What one worker takes at a time, and what the images of all are called."""

from typing import Any

import pytest

from services.generator import sample_jobs
from services.generator.sampling.recipe import SamplingRecipe
from shared.artifacts.store import ArtifactStore
from shared.jobs.store import JobStore
from shared.jobs.submission import Caller, submit
from shared.objects import ObjectStore
from tests.services.generator.test_generation import DRAW, post, work
from tests.services.generator.test_service import TEAM, Door, client, keep_model

__all__ = ["client"]  # a fixture


def test_names_keep_their_width_when_a_set_grows() -> None:
    old = [{"name": f"glioma/glioma_{k:04d}.png"} for k in range(1, 3)]
    assert sample_jobs._count_digits(old, 10_000) == 4
    assert sample_jobs._count_digits([], 10_000) == 5
    assert sample_jobs._count_digits([{"name": "glioma/glioma_00001.jpg"}], 3) == 5


def test_shards_are_whole_batches_of_little_work() -> None:
    recipe = SamplingRecipe(model="mdl-x", sampler="ddpm", steps=1000, seed=0, size=16, batch_size=16)
    cases: list[tuple[dict[str, Any], int | None, int]] = [
        ({}, None, 16),  # one batch, though that is 16,000 evaluations
        ({"steps": 20}, None, 64),
        ({"steps": 20, "guidance": 2.0}, 500, 96),
        ({"steps": 20}, 1024, 192),
        ({"steps": 20}, 10, 10),
        ({"steps": 1, "batch_size": 3}, None, 12),
    ]
    for changes, at_most, size in cases:
        shards = sample_jobs.cut_shards(range(5, 1005), recipe.model_copy(update=changes), at_most)
        sizes = [len(shard["indices"]) for shard in shards]
        assert set(sizes[:-1]) <= {size}
        assert sizes[0] == size
        assert [k for shard in shards for k in shard["indices"]] == list(range(5, 1005))


@pytest.mark.services
def test_a_job_stored_before_extensions_is_done_alike(
    client: Door, artifacts: ArtifactStore, objects: ObjectStore, jobs: JobStore
) -> None:
    keep_model(artifacts, objects)
    request = post(client, params={**DRAW, "n": 4})["request"]
    _, now = work(artifacts, jobs, post(client, params={**DRAW, "n": 4}))
    for member in ("extend", "quality"):
        del request[member]
    for member in ("precision", "guidance", "guidance_sigma_min", "guidance_sigma_max", "output"):
        del request["recipe"][member]
    shards = [{"start": 0, "stop": 2}, {"start": 2, "stop": 4}]
    _, before = work(
        artifacts, jobs, submit(Caller(TEAM), "diffusion.sample", request, shards=shards, total=4, unit="image").job
    )
    assert before["images"] == now["images"]
