"""Where the generator's work comes from: artifacts that requests name, checked; their images and weights, loaded."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from services.generator.corrections import apply_corrections
from services.generator.images import check_images, decode_gray, prepare_image
from services.generator.models.footprint import BatchDoesNotFit
from services.generator.models.preset import Preset
from services.generator.settings import get_generator_settings
from services.generator.shipped_model import register_shipped_model
from services.generator.training.data import TrainingData, TrainingPlan
from shared.artifacts.leakage import require_no_leakage
from shared.artifacts.store import Artifact, get_artifacts
from shared.errors import InvalidInput, ModelNotFound
from shared.jobs.runner import Execution
from shared.objects import get_objects
from shared.settings import get_settings
from shared.tumour import Split, TumourClass

if TYPE_CHECKING:
    from torch import nn


class ImageSetNotPreprocessed(InvalidInput):
    """Diffusion models learn from preprocessed images only."""


class NotADiffusionModel(InvalidInput):
    """The model named is of another kind."""


class WrongTumourClass(InvalidInput):
    """The model named was trained on another class."""


def find_training_images(image_set: Artifact, corrections: str | None = None) -> list[dict[str, Any]]:
    """The manifest's images of split Training, of all classes, in the manifest's order.

    Args:
        image_set: the set to learn from.
        corrections: hash of those that a training was planned with, from `keep_corrections`.

    Raises:
        ImageSetNotPreprocessed: the set is raw or synthetic.
    """
    if image_set.kind != "preprocessed":
        raise ImageSetNotPreprocessed(
            f"Image set {image_set.id} is {image_set.kind}; a diffusion model learns from a preprocessed set: "
            "send it through POST /preprocess and train on the set which that makes."
        )
    images = get_artifacts().manifest(image_set)["images"]
    return apply_corrections([image for image in images if image.get("split") == Split.TRAINING], corrections)


def note_leakage(image_set: Artifact, waiver: str | None, crossing_patients: Sequence[str]) -> list[str]:
    """What the model card must say about test images of this set that occur among its training images.

    Args:
        image_set: the set that is trained on.
        waiver: the request's reason to train nevertheless.
        crossing_patients: whom `find_patients_named_since` found when the training was asked for.

    Raises:
        KnownLeakage: there are such images, and neither the request nor the set's manifest waives it.
    """
    return require_no_leakage(image_set, get_artifacts().manifest(image_set), waiver, crossing_patients)


def load_training_data(
    execution: Execution, images: list[dict[str, Any]], plan: TrainingPlan, preset: Preset
) -> TrainingData:
    """The planned ones of `images` as the network of `preset` learns them.

    Raises:
        ConstantImages: an image holds one gray level only.
        Cancelled, Stopping: between two images.
    """
    chosen = [images[i] for i in (*plan.training, *plan.held_out)]
    loaded = []
    for image in chosen:
        execution.progress.raise_if_cancelled()
        loaded.append(prepare_image(decode_gray(execution.objects.get_blob(image["sha256"])), preset))
    images_u8, n_training = np.stack(loaded), len(plan.training)
    check_images(images_u8, preset.size_px, [str(image["name"]) for image in chosen])
    numbers = [preset.classes.index(image["class"]) if preset.classes else 0 for image in chosen]
    classes = np.asarray(numbers, np.int64)
    return TrainingData(images_u8[:n_training], images_u8[n_training:], classes[:n_training], classes[n_training:])


def find_model(owner: str, tumour_class: TumourClass, model_id: str | None) -> Artifact:
    """The diffusion model with this id, or the owner's newest that can draw the class, alone or among others.

    Where the owner has none, it is the model that came with the platform.

    Raises:
        ModelNotFound: no such model, or none of this class yet.
        NotADiffusionModel, WrongTumourClass: the model named cannot draw this class.
    """
    if model_id is None:

        def draws_class(model: Artifact) -> bool:
            return tumour_class in list_classes(model)

        own = _find_newest(owner, "model", "diffusion", lambda model: model.owner == owner and draws_class(model))
        newest = own or register_shipped_model()
        if newest is None or not draws_class(newest):
            raise ModelNotFound(
                f"There is no diffusion model of class {tumour_class} yet; train one with POST /models/diffusion "
                f'{{"image_set": "<id of a preprocessed set>", "class": "{tumour_class}"}}.'
            )
        return newest
    model = get_diffusion_model(owner, model_id)
    classes = list_classes(model)
    if tumour_class not in classes:
        raise WrongTumourClass(f"Model {model.id} was trained on {', '.join(classes)}, not on {tumour_class}.")
    return model


def get_diffusion_model(owner: str, model_id: str) -> Artifact:
    """The diffusion model with this id.

    Raises:
        ModelNotFound, NotADiffusionModel: there is none.
    """
    model = get_artifacts().get(model_id, owner, "model")
    if model.kind != "diffusion":
        raise NotADiffusionModel(f"Model {model.id} is a {model.kind}; images are generated by a diffusion model.")
    return model


def list_classes(model: Artifact) -> tuple[TumourClass, ...]:
    """The classes that a diffusion model can draw: its own, or those of a class-conditional one."""
    if model.tumour_class is not None:
        return (TumourClass(model.tumour_class),)
    if "classes" in model.summary:
        return tuple(TumourClass(each) for each in model.summary["classes"])
    return read_preset(get_artifacts().manifest(model)).classes


def newest_calibration(model: Artifact) -> dict[str, Any] | None:
    """The newest calibration report of a diffusion model over the usual grid, or None."""

    def fits(report: Artifact) -> bool:
        return bool(report.summary["model"] == model.id and report.summary.get("usual"))

    newest = _find_newest(model.owner, "report", "calibration", fits)
    if newest is None:
        return None
    report: dict[str, Any] = get_artifacts().manifest(newest)["report"]
    return report


def _find_newest(owner: str, noun: str, kind: str, fits: Callable[[Artifact], bool]) -> Artifact | None:
    """The newest of the owner's artifacts that fits, or None."""
    cursor = None
    while True:
        page, cursor = get_artifacts().list(owner, noun, kind=kind, cursor=cursor)
        for artifact in page:
            if fits(artifact):
                return artifact
        if cursor is None:
            return None


def read_preset(manifest: dict[str, Any]) -> Preset:
    """The preset a diffusion model was trained with, from the model's manifest."""
    return Preset.model_validate(manifest["config"]["preset"])


def read_precision(manifest: dict[str, Any]) -> str | None:
    """The arithmetic a model draws in when nobody says: that of its training, unless its manifest names another."""
    precision: str | None = manifest["config"].get("sampling_precision") or manifest.get("card", {}).get("precision")
    return precision


@lru_cache(maxsize=4)
def load_network(weights_sha256: str) -> "tuple[nn.Module, Preset]":
    """The network with these weights on this machine's best device; the last four stay, for jobs that take turns.

    Raises:
        BatchDoesNotFit: the device has too little memory for the network alone.
    """
    import torch

    from services.generator.models.checkpoints import load_network as build
    from services.generator.models.network import choose_device

    device = choose_device()
    try:
        network, preset = build(get_objects().get_blob(weights_sha256), device)
    except torch.OutOfMemoryError as error:
        raise BatchDoesNotFit(
            f"The network needs more memory than {device} has free, even without images; retry the job when other jobs "
            "on that device have ended, or ask for a smaller model."
        ) from error
    if get_generator_settings().compile_networks:
        network.compile(dynamic=False)
    return network, preset


@lru_cache(maxsize=1)
def set_threads() -> int:
    """Give torch the CPU threads of the settings, once per process, and return their number.

    The order of some sums depends on it, so results are bit-equal between processes with the same number.
    """
    import torch

    n_threads = get_settings().torch_threads or os.cpu_count() or 1
    torch.set_num_threads(n_threads)
    return n_threads
