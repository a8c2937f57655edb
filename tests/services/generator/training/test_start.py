"""Trainings that begin with the weights of another."""

import pytest
import torch

from services.generator.models.checkpoints import CheckpointDamaged
from services.generator.training.data import TrainingData
from services.generator.training.loop import TrainedModel, train_model
from services.generator.training.resume import ResumeBundleMismatch, fingerprint_weights
from shared.progress import Cancelled, NoProgress
from tests.services.generator.micro import MICRO, Recorder, draw_images, random_network
from tests.services.generator.training.test_loop import assert_same

IMAGES = TrainingData(draw_images(10))
START = random_network(7).state_dict()


@pytest.fixture(scope="module")
def begun() -> TrainedModel:
    return train_model(IMAGES, MICRO, seed=1, progress=NoProgress(), start=START)


def test_a_training_without_steps_ends_where_it_began() -> None:
    still = MICRO.replace({"learning_rate": 1e-30})
    model = train_model(IMAGES, still, seed=1, progress=NoProgress(), start=START)
    for kind in ("raw", "average"):
        for name, tensor in START.items():
            assert torch.allclose(model.weights[kind][name], tensor, rtol=1e-6, atol=1e-12), (kind, name)


def test_the_start_decides_and_half_precision_is_taken_for_what_it_is(begun: TrainedModel) -> None:
    other = train_model(IMAGES, MICRO, seed=1, progress=NoProgress())
    assert other.curves["loss"] != begun.curves["loss"]
    halved = {name: tensor.half() for name, tensor in START.items()}
    widened = {name: tensor.float() for name, tensor in halved.items()}
    one, same = (train_model(IMAGES, MICRO, seed=1, progress=NoProgress(), start=each) for each in (halved, widened))
    assert_same(one, same)
    assert fingerprint_weights(halved) == fingerprint_weights(widened) != fingerprint_weights(START)


def test_what_was_learned_is_kept_by_a_training_that_goes_on() -> None:
    long = MICRO.replace({"epochs": 40})
    learned = train_model(IMAGES, long, seed=1, progress=NoProgress())
    gone_on = train_model(IMAGES, MICRO, seed=2, progress=NoProgress(), start=learned.weights["average"])
    fresh = train_model(IMAGES, MICRO, seed=2, progress=NoProgress())
    assert gone_on.curves["loss"][0] < fresh.curves["loss"][0] / 2


@pytest.mark.parametrize("stop_at", [0, 4])
def test_it_stops_and_goes_on_to_the_same_bits(stop_at: int, begun: TrainedModel) -> None:
    saved: list[bytes] = []
    with pytest.raises(Cancelled):
        train_model(IMAGES, MICRO, seed=1, progress=Recorder(stop_at), start=START, save=saved.append)
    resumed = train_model(IMAGES, MICRO, seed=1, progress=NoProgress(), start=START, resume=saved[-1])
    assert_same(resumed, begun)
    for other in (None, random_network(8).state_dict()):
        with pytest.raises(ResumeBundleMismatch):
            train_model(IMAGES, MICRO, seed=1, progress=NoProgress(), start=other, resume=saved[-1])


def test_weights_of_another_network_are_refused() -> None:
    short = dict(list(START.items())[1:])
    with pytest.raises(CheckpointDamaged, match="do not fit"):
        train_model(IMAGES, MICRO, seed=1, progress=NoProgress(), start=short)
