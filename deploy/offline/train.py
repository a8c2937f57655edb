"""Train what a parcel holds, into a folder: weights, their card, curves, sheets, and a bundle to go on from."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any, Final

import torch

from deploy.offline.files import BUNDLE, CARD, CONFIG, WEIGHTS, write_whole
from deploy.offline.parcel import Parcel
from services.generator.memory import held_memory
from services.generator.models.checkpoints import write_weights
from services.generator.models.network import choose_device
from services.generator.models.preset import MAX_EPOCHS
from services.generator.training.loop import train_model
from services.generator.training.resume import ResumeBundleMismatch, change_epochs, read_preset
from shared.progress import Cancelled, NoProgress, Progress

_WARM_UP: Final = 2
"""Updates that a trial does not count: the first choose kernels and reserve memory."""
_SHARE: Final = 0.9
"""Of the time that is given, for updates; the rest is for validation, sheets and files."""


def train_offline(
    parcel: Parcel,
    folder: Path,
    progress: Progress,
    *,
    epochs: int | None = None,
    within_s: float | None = None,
    trial_s: float = 15.0,
    save_every_s: float = 60.0,
    compiled: bool = False,
    half: bool = False,
) -> dict[str, Any]:
    """Make the training of `parcel` in `folder`, going on from its bundle if there is one, and return its card.

    Args:
        parcel: what to train.
        folder: made if missing. After the training `weights.safetensors` is what `synthmri import-model` takes; it
            holds its preset, as `config.json` does, and how it came about, as `card.json`. The bundle is gone then.
        progress: told of each update; its Cancelled and Stopping end the training after a last bundle.
        epochs: in place of the preset's; of a training that was begun, while its step size has not begun to fall.
        within_s: seconds that decide the number of epochs of a new training, in place of the preset's, by a trial of
            `trial_s`.
        trial_s: seconds of that trial.
        save_every_s: least seconds between two bundles.
        compiled: whether updates run through torch.compile.
        half: whether the weights are written in float16, half the size.

    Raises:
        ResumeBundleMismatch: the bundle in `folder` belongs to another training.
        EpochsDecided: that has come too far to end after `epochs`.
        TrainingDiverged, TrainingOutOfMemory, Cancelled, Stopping: see `train_model`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bundle, config = folder / BUNDLE, folder / CONFIG
    if bundle.exists():
        preset = read_preset(bundle.read_bytes())
        if preset.override(epochs=parcel.preset.epochs) != parcel.preset:
            raise ResumeBundleMismatch(
                f"{bundle} belongs to a training by another preset, {config}; train this parcel into another folder."
            )
        if epochs is not None:
            preset = preset.override(epochs=epochs)
            write_whole(bundle, change_epochs(bundle.read_bytes(), epochs, len(parcel.data.images_u8)))
    else:
        preset = parcel.preset.override(epochs=epochs)
        if within_s is not None:
            preset = preset.override(epochs=fit_epochs(parcel, within_s, trial_s, compiled=compiled))
    write_whole(config, preset.model_dump_json(indent=1).encode())
    with held_memory():
        model = train_model(
            parcel.data,
            preset,
            seed=parcel.seed,
            progress=progress,
            start=parcel.start,
            save=lambda data: write_whole(bundle, data),
            resume=bundle.read_bytes() if bundle.exists() else None,
            save_every_s=save_every_s,
            publish=lambda name, data: write_whole(folder / name, data),
            compiled=compiled,
        )
    weights = model.weights[model.chosen]
    if half:
        weights = {name: tensor.half() for name, tensor in weights.items()}
    card = {
        "epochs": len(model.curves["loss"]),
        "updates": model.n_updates,
        "parameters": model.n_parameters,
        "final_loss": model.curves["loss"][-1],
        "seconds": round(model.seconds, 3),
        "images_per_s": round(model.images_per_s, 2),
        "precision": model.precision,
        "chosen_weights": model.chosen,
        "device": _name_device(),
        "finished": time.strftime("%Y-%m-%d %H:%M"),
        "torch": torch.__version__,
        **parcel.described,
        "seed": parcel.seed,
        "curves": model.curves,
    }
    write_whole(folder / WEIGHTS, write_weights(weights, preset, card))
    write_whole(folder / CARD, json.dumps(card, indent=1).encode())
    bundle.unlink(missing_ok=True)
    return card


def fit_epochs(parcel: Parcel, within_s: float, trial_s: float, *, compiled: bool = False) -> int:
    """Epochs that can be made in `within_s` seconds, by the pace of a trial, whose own time counts too.

    One at least, and no more than a preset may have.
    """
    began, trial, epochs = time.monotonic(), _Trial(trial_s), parcel.preset.epochs
    quiet = parcel.preset.replace({"sample_every": None, "validate_every": epochs})
    with contextlib.suppress(Cancelled):
        train_model(parcel.data, quiet, seed=parcel.seed, progress=trial, compiled=compiled)
    left = _SHARE * (within_s - (time.monotonic() - began))
    return max(1, min(int(left * trial.share_per_second() * epochs), MAX_EPOCHS))


class _Trial(NoProgress):
    """Lets a training run for some seconds, and knows its pace."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: list[tuple[float, float]] = [(0.0, time.monotonic())]

    def update(self, done: int, total: int) -> None:
        """Note what share of the training was done when."""
        self._seen.append((done / total, time.monotonic()))

    def raise_if_cancelled(self) -> None:
        """Cancel once the seconds are over and a pace is known."""
        if len(self._seen) > _WARM_UP + 1 and self._seen[-1][1] - self._seen[_WARM_UP][1] >= self._seconds:
            raise Cancelled

    def share_per_second(self) -> float:
        """Of the updates after the first ones; of all in a training that is over before."""
        first_share, began = self._seen[_WARM_UP if len(self._seen) > _WARM_UP + 1 else 0]
        last_share, ended = self._seen[-1]
        return (last_share - first_share) / max(ended - began, 1e-9)


def _name_device() -> str:
    device = choose_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
