"""Training learns, repeats itself, goes on where it was killed, and stops when told to."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.classifier.inference import TrainedNetwork, predict
from services.classifier.network import build_network, weights_to_bytes
from services.classifier.presets import NetworkConfig, TrainingConfig
from services.classifier.training import (
    NoTrainingImages,
    TrainingDiverged,
    augment,
    batch_rows,
    seed_everything,
    train,
)
from shared.progress import Cancelled, NoProgress, Progress

Shapes = tuple[NDArray[np.uint8], NDArray[np.int64]]
Save = Callable[[bytes], None] | None
NETWORK = NetworkConfig("vgg19-compact", 32, "pm1")
SHORT = TrainingConfig(epochs=3, batch_size=16, learning_rate=2e-3, schedule="cosine", augmentation="flip-shift")


class Watched(NoProgress):
    """Remembers what it was told; cancels after some batches."""

    def __init__(self, cancel_after: int | None = None) -> None:
        self.updates: list[tuple[int, int]] = []
        self.facts: dict[str, float | int | str] = {}
        self._cancel_after = cancel_after

    def update(self, done: int, total: int) -> None:
        self.updates.append((done, total))

    def note(self, **facts: float | int | str) -> None:
        self.facts |= facts

    def raise_if_cancelled(self) -> None:
        if self._cancel_after is not None and len(self.updates) >= self._cancel_after:
            raise Cancelled


def run(
    shapes: Shapes, *, resume: bytes | None = None, save: Save = None, progress: Progress | None = None
) -> tuple[bytes, list[float]]:
    seed_everything(7)
    network = small_network()
    history = train(network, NETWORK, *shapes, SHORT, 7, progress=progress, resume=resume, save=save, save_every_s=0)
    return weights_to_bytes(network), history.loss


def small_network() -> keras.Model:
    """A network that compiles in a moment, with every kind of state: batch statistics and a dropout's seed."""
    layers = keras.layers
    inputs = keras.Input((32, 32, 1))
    x = layers.AveragePooling2D(4)(inputs)
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.Flatten()(layers.BatchNormalization(name="norm")(x))
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="out")(x))


def test_a_killed_training_ends_in_the_weights_of_an_undisturbed_one(shapes: Shapes) -> None:
    bundles: list[bytes] = []
    weights, loss = run(shapes, save=bundles.append)
    progress = Watched()
    resumed, loss_resumed = run(shapes, resume=bundles[0], progress=progress)
    assert resumed == weights
    assert loss_resumed == loss
    assert progress.updates == [(k, 12) for k in range(2, 13)]


def test_a_resumed_training_counts_the_seconds_before_it_was_killed(shapes: Shapes) -> None:
    bundles: list[bytes] = []
    run(shapes, save=bundles.append)
    tensors = safetensors.numpy.load(bundles[-1])
    assert tensors["seconds"][0] > 0
    tensors["seconds"] = np.array([1000.0])
    history = train(small_network(), NETWORK, *shapes, SHORT, 7, resume=safetensors.numpy.save(tensors))
    assert 1000 < history.seconds < 1100


def test_the_seed_alone_sets_the_first_weights() -> None:
    def first_weights(seed: int) -> bytes:
        seed_everything(seed)
        return weights_to_bytes(build_network(NETWORK))

    assert first_weights(7) == first_weights(7)
    assert first_weights(7) != first_weights(8)


def test_the_same_seed_repeats_a_training_and_another_does_not(shapes: Shapes) -> None:
    def losses(seed: int) -> list[float]:
        seed_everything(seed)
        return train(small_network(), NETWORK, *shapes, SHORT, seed).loss

    assert losses(7) == losses(7)
    assert losses(7) != losses(8)


def test_it_learns_shapes_it_has_not_seen(shapes: Shapes, other_shapes: Shapes) -> None:
    seed_everything(3)
    network = build_network(NETWORK)
    config = TrainingConfig(epochs=20, batch_size=16, learning_rate=2e-3, schedule="cosine")
    progress = Watched()
    history = train(network, NETWORK, *shapes, config, 3, progress=progress)
    right = predict(TrainedNetwork(network, NETWORK), other_shapes[0]).argmax(axis=1) == other_shapes[1]
    assert right.mean() > 0.9
    assert np.mean(history.loss[-4:]) < 0.5 * np.mean(history.loss[:4])
    assert progress.updates[-1] == (80, 80)
    assert set(progress.facts) == {"loss", "accuracy"}


def test_cancelling_stops_before_the_next_batch(shapes: Shapes) -> None:
    progress = Watched(cancel_after=1)
    with pytest.raises(Cancelled):
        train(small_network(), NETWORK, *shapes, SHORT, 1, progress=progress)
    assert progress.updates == [(1, 12)]


def test_a_loss_beyond_all_numbers_ends_in_a_sentence(shapes: Shapes) -> None:
    images, classes = shapes
    seed_everything(1)
    network = small_network()
    kernel = network.get_layer("out").kernel
    kernel.assign(np.full(kernel.shape, np.nan, np.float32))
    with pytest.raises(TrainingDiverged, match="learning_rate"):
        train(network, NETWORK, images, classes, SHORT, 1)


def test_no_images_are_refused() -> None:
    with pytest.raises(NoTrainingImages):
        train(build_network(NETWORK), NETWORK, np.empty((0, 32, 32), np.uint8), np.empty(0, np.int64), SHORT, 1)


@given(st.integers(1, 100), st.integers(1, 40), st.integers(0, 2**31 - 1))
def test_a_pass_shows_every_image_at_most_once_and_only_the_remainder_is_left_out(n: int, size: int, seed: int) -> None:
    config = TrainingConfig(epochs=1, batch_size=size, order="each-pass")
    rows = np.concatenate([batch_rows(k, n, config, seed) for k in range(config.n_updates(n))])
    assert len(rows) == len(set(rows.tolist()))
    assert n - len(rows) < min(size, n)


def test_the_studys_order_is_one_shuffle_whose_short_batch_shifts_the_epochs() -> None:
    # Study, section 5.1: 5 * floor(n / 32) updates; a pass has ceil(n / 32) batches, so the run ends early.
    config = TrainingConfig(epochs=5, batch_size=32, order="once")
    assert config.n_updates(3207) == 500
    batches = [batch_rows(k, 3207, config, 33) for k in range(500)]
    assert [len(batches[k]) for k in (99, 100, 101)] == [32, 7, 32]
    assert batches[101].tolist() == batches[0].tolist()
    # Four short batches of 7 among the 500; the study's table gives 4.95 passes.
    assert sum(map(len, batches)) == 496 * 32 + 4 * 7


@given(st.integers(0, 2**31 - 1), st.integers(0, 1000))
def test_augmentation_moves_and_mirrors_and_depends_on_seed_and_update_alone(seed: int, update: int) -> None:
    batch = np.arange(2 * 32 * 32, dtype=np.uint32).reshape(2, 32, 32).astype(np.uint8)
    before = batch.copy()
    out = augment(batch, SHORT, seed, update)
    assert out.shape == batch.shape
    assert out.dtype == np.uint8
    assert np.array_equal(out, augment(batch, SHORT, seed, update))
    assert np.array_equal(batch, before)
    # The middle of the result is a piece of the image or of its mirror image.
    middle = out[0, 8:24, 8:24]
    pieces = [image[8 + dy : 24 + dy, 8 + dx : 24 + dx] for image in (batch[0], batch[0][:, ::-1])
              for dy in (-2, -1, 0, 1, 2) for dx in (-2, -1, 0, 1, 2)]  # fmt: skip
    assert any(np.array_equal(middle, piece) for piece in pieces)


def test_no_augmentation_means_the_very_same_images() -> None:
    batch = np.zeros((1, 32, 32), np.uint8)
    assert augment(batch, TrainingConfig(epochs=1), 1, 1) is batch
