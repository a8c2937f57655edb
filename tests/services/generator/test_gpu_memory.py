"""A network that the GPU has no room for. There is no GPU where these tests run: what torch would raise is raised."""

from typing import Any

import pytest
import torch

from services.generator import sources
from services.generator.models.checkpoints import write_weights
from services.generator.models.footprint import BatchDoesNotFit
from shared.objects import ObjectStore
from tests.services.generator.micro import MICRO, random_network

pytestmark = pytest.mark.services


def test_a_network_that_does_not_fit_is_named_and_tried_again(
    objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    sha256 = objects.put_blob(write_weights(random_network(11).state_dict(), MICRO))
    with monkeypatch.context() as full:
        full.setattr(torch.nn.Module, "to", refuse)
        with pytest.raises(BatchDoesNotFit, match=r"network needs more memory than .* retry the job"):
            sources.load_network(sha256)
    assert sources.load_network(sha256)[1] == MICRO
