"""Training a classifier: which batch comes at which update, the loop, and the bundle that lets a killed job go on.

Every batch is a function of (seed, update number) alone. Together with weights, optimizer and dropout state in the
resume bundle this makes an interrupted training end, on one machine, in the weights of an undisturbed one.
"""

import dataclasses
import time
from collections.abc import Callable

import keras
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from services.classifier.network import Network, arrays_by_path, as_input, assign_by_path
from services.classifier.presets import NetworkConfig, TrainingConfig
from shared.errors import InvalidInput
from shared.progress import NoProgress, Progress

IndexArray = NDArray[np.int64]
SAVING_SHARE = 20
"""A bundle of the full VGG-19 has 240 MB; at least this many times the last saving's duration lies between two."""


@dataclasses.dataclass
class History:
    """What each update measured on its own batch, before the weights moved, and the time in the loop.

    Attributes:
        loss: one value per update.
        accuracy: one value per update, 0..1.
        seconds: time in the loop, with what a resumed training had taken up to its bundle.
    """

    loss: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


class NoTrainingImages(InvalidInput):
    """There is nothing to train on."""


class TrainingDiverged(InvalidInput):
    """The loss is not a number any more."""


def train(
    network: Network,
    network_config: NetworkConfig,
    images_u8: NDArray[np.uint8],
    class_index: IndexArray,
    config: TrainingConfig,
    seed: int,
    *,
    progress: Progress | None = None,
    resume: bytes | None = None,
    save: Callable[[bytes], None] | None = None,
    save_every_s: float = 30.0,
) -> History:
    """Train the network in place and return what it measured on the way.

    Args:
        network: from `build_network`; if it was trained before with a constant rate, its optimizer state goes on.
        network_config: the one it was built from.
        images_u8: (N, H, W) uint8 in 0..255, of the network's size.
        class_index: (N,) int64, indices into `CLASS_ORDER`.
        config: how to train.
        seed: draws the order and the augmentation; dropout and initial weights come from `seed_everything`.
        progress: told loss and accuracy of each batch and asked before each whether to go on.
        resume: the last bundle that `save` was given.
        save: takes a bundle from which a killed training goes on.
        save_every_s: least time between two bundles, seconds.

    Raises:
        NoTrainingImages: N is 0.
        TrainingDiverged: the loss is infinite or not a number.
        Cancelled: the user cancelled; the network keeps the weights it has.
    """
    progress = progress or NoProgress()
    if len(images_u8) == 0:
        raise NoTrainingImages("The composition selects no image, so there is nothing to train on.")
    n_updates = config.n_updates(len(images_u8))
    _compile(network, config, n_updates)
    history, first = _unpack(network, resume) if resume else (History(), 0)
    started = last_saved = time.monotonic()
    saving_s = 0.0
    for update in range(first, n_updates):
        progress.raise_if_cancelled()
        rows = batch_rows(update, len(images_u8), config, seed)
        batch_u8 = augment(images_u8[rows], config, seed, update)
        loss, accuracy = network.train_on_batch(as_input(batch_u8, network_config), class_index[rows])
        network.reset_metrics()
        if not np.isfinite(loss):
            raise TrainingDiverged(f"The loss grew beyond all numbers at update {update + 1}; lower the learning_rate.")
        history.loss.append(float(loss))
        history.accuracy.append(float(accuracy))
        progress.update(update + 1, n_updates)
        progress.note(loss=round(float(loss), 5), accuracy=round(float(accuracy), 4))
        now = time.monotonic()
        if save and update + 1 < n_updates and now - last_saved >= max(save_every_s, SAVING_SHARE * saving_s):
            save(_pack(network, dataclasses.replace(history, seconds=history.seconds + now - started)))
            last_saved = time.monotonic()
            saving_s = last_saved - now
    history.seconds += time.monotonic() - started
    return history


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and the backend and ask the backend for deterministic operations; call before building."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def batch_rows(update: int, n_images: int, config: TrainingConfig, seed: int) -> IndexArray:
    """The rows of one batch, from the update number alone.

    Returns:
        (B,) int64 indices below n_images; B is `batch_size`, or less where the set or the last batch is short.
    """
    size = min(config.batch_size, n_images)
    if config.order == "once":
        # scikit-learn's shuffle with the global NumPy state, drawn once; batches run on across epochs (study, 5.1).
        order = np.arange(n_images)
        np.random.RandomState(seed).shuffle(order)
        start = update % -(-n_images // size) * size
    else:
        per_pass = n_images // size
        order = np.random.default_rng([seed, update // per_pass]).permutation(n_images)
        start = update % per_pass * size
    return order[start : start + size].astype(np.int64)


def augment(batch_u8: NDArray[np.uint8], config: TrainingConfig, seed: int, update: int) -> NDArray[np.uint8]:
    """The batch, each image mirrored with probability 1/2 and shifted by up to 1/16 of its side; edges repeat.

    Args:
        batch_u8: (B, H, W) uint8 in 0..255.
        config: `augmentation` says whether anything happens.
        seed: with `update`, the only source of chance.
        update: number of the update, so that a resumed training draws the same.

    Returns:
        (B, H, W) uint8 in 0..255.
    """
    if config.augmentation == "none":
        return batch_u8
    rng = np.random.default_rng([seed, update, 1])
    reach = batch_u8.shape[1] // 16
    height, width = batch_u8.shape[1:]
    padded = np.pad(batch_u8, ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    out = np.empty_like(batch_u8)
    for k, image in enumerate(padded):
        dy, dx = rng.integers(0, 2 * reach + 1, size=2)
        moved = image[dy : dy + height, dx : dx + width]
        out[k] = moved[:, ::-1] if rng.random() < 0.5 else moved
    return out


def _compile(network: Network, config: TrainingConfig, n_updates: int) -> None:
    if getattr(network, "optimizer", None) is not None and config.schedule == "constant":
        return  # The second phase of the study's scenario 5 keeps the optimizer (study, section 5.2).
    rate: object = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, decay_steps=n_updates)
    network.compile(
        optimizer=keras.optimizers.Adam(rate, name="adam"),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    network.optimizer.build(network.trainable_variables)


def _pack(network: Network, history: History) -> bytes:
    tensors = {f"network/{k}": v for k, v in arrays_by_path(_state(network)).items()}
    tensors |= {f"optimizer/{k}": v for k, v in arrays_by_path(network.optimizer.variables).items()}
    tensors["history"] = np.array([history.loss, history.accuracy], np.float64)
    tensors["seconds"] = np.array([history.seconds], np.float64)
    return safetensors.numpy.save(tensors)


def _unpack(network: Network, bundle: bytes) -> tuple[History, int]:
    tensors = safetensors.numpy.load(bundle)
    loss, accuracy = tensors.pop("history")
    seconds = float(tensors.pop("seconds")[0])
    for part, variables in (("network/", _state(network)), ("optimizer/", network.optimizer.variables)):
        assign_by_path(variables, {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)})
    return History(list(map(float, loss)), list(map(float, accuracy)), seconds), len(loss)


def _state(network: Network) -> list[object]:
    """Weights and the dropout layers' random state, without the metrics' counters."""
    metric_variables = {id(v) for v in network.metrics_variables}
    return [v for v in network.variables if id(v) not in metric_variables]
