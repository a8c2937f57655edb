"""Fetch a prepared set from a running platform and pack it with a preset: what a training job would be given."""

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.offline.parcel import Parcel
from services.generator.images import check_images, decode_gray, prepare_image
from services.generator.models.checkpoints import read_tensors
from services.generator.models.preset import Preset
from services.generator.sources import ImageSetNotPreprocessed, NotADiffusionModel
from services.generator.starting_models import StartingModel
from services.generator.train_jobs import TrainingWishes, choose_preset, describe_images
from services.generator.training.data import TrainingData, plan_training
from shared.artifacts.leakage import require_no_leakage
from shared.artifacts.patients import RawImages, find_patients_named_since, lay_patients
from shared.client import ApiProblem, SynthMRI
from shared.tumour import Split, TumourClass


@dataclass(frozen=True)
class _ImageSet:
    id: str
    kind: str


def pack_training(client: SynthMRI, image_set: str, tumour_class: TumourClass | None, wishes: TrainingWishes) -> Parcel:
    """The training that `POST /models/diffusion` would make with the same wishes.

    Args:
        client: of the platform that has the set.
        image_set: id of a preprocessed set.
        tumour_class: the class to learn; None: all of the set, in one class-conditional network.
        wishes: preset, overrides, seed, and the model to begin with.

    Raises:
        NotADiffusionModel, ImageSetNotPreprocessed, KnownLeakage, PresetUnknown, PresetValueInvalid, PresetTooLarge,
        TooFewImages, TooFewClasses, StartingModelDiffers, ConstantImages: as the platform would.
        ApiProblem: the platform has no such set or model, or does not answer.
    """
    found = client.image_set(image_set)
    if found["kind"] != "preprocessed":
        raise ImageSetNotPreprocessed(f"Image set {image_set} is {found['kind']}; preprocess it first.")
    corrected = _corrected_images(client, found["manifest"])
    named_since = find_patients_named_since(corrected, found["manifest"])
    what = _ImageSet(image_set, found["kind"])
    notes = require_no_leakage(what, found["manifest"], wishes.leakage_waiver, named_since)
    with tempfile.TemporaryDirectory() as folder:
        start, weights = None, None
        if wishes.start_from is not None:
            manifest = client.model(wishes.start_from)
            if manifest["kind"] != "diffusion":
                raise NotADiffusionModel(
                    f"Model {wishes.start_from} is a {manifest['kind']}; begin with a diffusion model."
                )
            preset = Preset.model_validate(manifest["config"]["preset"])
            start = StartingModel(
                wishes.start_from, preset, manifest["objects"]["weights"], manifest["config"].get("class")
            )
            exported = Path(folder, "model.zip")
            client.export_model(wishes.start_from, exported)
            with zipfile.ZipFile(exported) as opened:
                weights, _ = read_tensors(opened.read("weights.safetensors"))
        images = [image for image in corrected if image.get("split") == Split.TRAINING]
        preset = choose_preset(wishes, start, tumour_class, images)
        classes = list(preset.classes) if tumour_class is None else [tumour_class]
        plan = plan_training(images, classes, preset, wishes.seed)
        archive = Path(folder, "images.zip")
        client.download_archive(image_set, archive, split=Split.TRAINING)
        chosen = [images[i] for i in (*plan.training, *plan.held_out)]
        with zipfile.ZipFile(archive) as opened:
            pixels = np.stack([prepare_image(decode_gray(opened.read(image["name"])), preset) for image in chosen])
    check_images(pixels, preset.size_px, [str(image["name"]) for image in chosen])
    numbers = np.asarray([preset.classes.index(i["class"]) if preset.classes else 0 for i in chosen], np.int64)
    n = len(plan.training)
    described = {
        "image_set": image_set,
        "class": tumour_class,
        "n_images": n,
        "start_from": wishes.start_from,
        "notes": notes,
        **describe_images(images, plan),
    }
    data = TrainingData(pixels[:n], pixels[n:], numbers[:n], numbers[n:])
    return Parcel(data, preset, wishes.seed, weights, described)


def _corrected_images(client: SynthMRI, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """What `shared.artifacts.patients.corrected_images` is on the platform, over HTTP."""
    behind: list[RawImages] = []
    waiting, seen = list(manifest["parents"]), set()
    while waiting:
        parent = waiting.pop(0)
        if parent in seen:
            continue
        seen.add(parent)
        try:
            found = client.image_set(parent)
        except ApiProblem as problem:
            if problem.status != 404:  # it is no image set, or not there any more
                raise
            continue
        waiting += found["manifest"]["parents"]
        if found["kind"] == "raw":
            behind.append(_images_of(client, parent))
    own = _images_of(client, manifest["id"])
    return lay_patients(own.images, own.corrected, behind)


def _images_of(client: SynthMRI, image_set: str) -> RawImages:
    corrected = {said["name"] for said in client.annotations(image_set) if said["group"] is not None}
    return RawImages(list(client.images(image_set)), corrected)
