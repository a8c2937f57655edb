import random
from typing import Literal

import numpy as np
import pytest
import torch

from services.generator.images import TooFewImages
from services.generator.network import choose_device, training_dtype
from services.generator.preset import Preset, ScheduleConfig
from services.generator.resume import ResumeBundleMismatch
from services.generator.training import TrainedModel, TrainingDiverged, scale_images, train_model
from shared.progress import Cancelled, NoProgress, Stopping
from tests.services.generator.micro import MICRO, Recorder, draw_images

IMAGES = draw_images(10)  # batches of 4, 4 and 2: nine updates in MICRO's three epochs


def train(preset: Preset = MICRO, seed: int = 1) -> TrainedModel:
    return train_model(IMAGES, preset, seed=seed, progress=NoProgress())


@pytest.fixture(scope="module")
def undisturbed() -> TrainedModel:
    return train()


def assert_same(one: TrainedModel, other: TrainedModel) -> None:
    assert one.epoch_losses == other.epoch_losses
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, other.weights[name]), name
        assert torch.equal(one.raw_weights[name], other.raw_weights[name]), name


def test_the_same_seed_gives_the_same_bits_and_another_does_not(undisturbed: TrainedModel) -> None:
    assert_same(train(), undisturbed)
    assert train(seed=2).epoch_losses != undisturbed.epoch_losses


@pytest.mark.parametrize("how", [Cancelled, Stopping])
@pytest.mark.parametrize("stop_at", sorted(random.Random(33).sample(range(9), 4)))
def test_a_stopped_training_goes_on_to_the_same_bits(
    stop_at: int, how: type[Exception], undisturbed: TrainedModel
) -> None:
    saved: list[bytes] = []
    with pytest.raises(how):
        train_model(IMAGES, MICRO, seed=1, progress=Recorder(stop_at=stop_at, how=how), save=saved.append)
    assert len(saved) == 1
    progress = Recorder()
    resumed = train_model(IMAGES, MICRO, seed=1, progress=progress, save=saved.append, resume=saved[0])
    assert [done for done, _ in progress.updates] == list(range(stop_at + 1, 10))
    assert_same(resumed, undisturbed)


def test_a_killed_training_goes_on_from_any_timed_bundle(undisturbed: TrainedModel) -> None:
    saved: list[bytes] = []
    train_model(IMAGES, MICRO, seed=1, progress=NoProgress(), save=saved.append, save_every_s=0.0)
    assert len(saved) == 9
    for data in (saved[0], saved[4], saved[8]):
        assert_same(train_model(IMAGES, MICRO, seed=1, progress=NoProgress(), resume=data), undisturbed)


def test_without_average_the_weights_are_the_last_ones_and_resume_alike() -> None:
    preset = MICRO.model_copy(update={"ema_decay": None})
    saved: list[bytes] = []
    whole = train_model(IMAGES, preset, seed=1, progress=NoProgress(), save=saved.append, save_every_s=0.0)
    assert all(torch.equal(tensor, whole.raw_weights[name]) for name, tensor in whole.weights.items())
    assert_same(train_model(IMAGES, preset, seed=1, progress=NoProgress(), resume=saved[5]), whole)


def test_a_bundle_of_other_images_is_refused() -> None:
    saved: list[bytes] = []
    with pytest.raises(Cancelled):
        train_model(IMAGES, MICRO, seed=1, progress=Recorder(stop_at=2), save=saved.append)
    with pytest.raises(ResumeBundleMismatch):
        train_model(IMAGES[::-1].copy(), MICRO, seed=1, progress=NoProgress(), resume=saved[0])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_falls_on_a_few_images(prediction: Literal["epsilon", "v_prediction"]) -> None:
    preset = MICRO.override(epochs=30, learning_rate=1e-2)
    losses = train(preset.model_copy(update={"schedule": ScheduleConfig(prediction=prediction)})).epoch_losses
    assert losses[0] == pytest.approx(1, abs=0.4)  # The untrained network predicts 0; eps and v have power near 1.
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_progress_hears_of_every_update(undisturbed: TrainedModel) -> None:
    progress = Recorder()
    model = train_model(IMAGES, MICRO, seed=1, progress=progress)
    assert progress.updates == [(k, 9) for k in range(1, 10)]
    assert progress.asked == 9
    assert set(progress.notes[-1]) == {"loss", "images_per_s"}
    assert len(model.epoch_losses) == 3
    assert model.images_per_s == pytest.approx(30 / model.seconds)


def test_unsuitable_images_cost_no_update() -> None:
    progress = Recorder()
    with pytest.raises(TooFewImages):
        train_model(draw_images(3), MICRO, seed=1, progress=progress)
    assert progress.asked == 0


def test_a_diverging_training_says_so() -> None:
    wild = MICRO.model_copy(update={"learning_rate": 1e30, "epochs": 20})
    with pytest.raises(TrainingDiverged, match="smaller learning_rate than 1e\\+30"):
        train(wild)


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    train(MICRO.override(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_gray_levels_map_onto_the_whole_value_range() -> None:
    levels = np.array([[[0, 51], [204, 255]]], np.uint8)
    expected = torch.tensor([[[[-1.0, -0.6], [0.6, 1.0]]]])
    torch.testing.assert_close(scale_images(levels, (-1.0, 1.0)), expected)
    torch.testing.assert_close(scale_images(levels, (0.0, 1.0)), (expected + 1) / 2)


def test_bfloat16_is_used_where_the_machine_multiplies_it() -> None:
    native = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    assert training_dtype(choose_device()) == (torch.bfloat16 if native else torch.float32)
