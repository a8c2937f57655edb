"""Samples stand as the images did in `rigorous`, and come out of the study's whole chain mirrored (study 3.1, 3.3)."""

import numpy as np
from numpy.typing import NDArray

from services.generator.images import decode_gray, prepare_image, shrink_image
from services.generator.models.checkpoints import load_network, write_weights
from services.generator.models.preset import Preset
from services.generator.models.presets import RIGOROUS, STUDY
from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
from services.generator.sampling.samplers import build_sampler
from services.generator.sampling.study_output import to_study_jpeg
from services.generator.training.data import TrainingData
from services.generator.training.loop import train_model
from services.generator.training.sheets import draw_sheet
from shared.progress import NoProgress
from tests.services.generator.micro import MICRO

UNET = {"channels": (16, 32), "attention_levels": (False, True), "head_channels": 16, "norm_groups": 8}


def asymmetric_image(size_px: int = 32) -> NDArray[np.uint8]:
    """A bar at the left and a spot at the bottom right; no turn or mirroring of it is like it."""
    image_u8 = np.zeros((size_px, size_px), np.uint8)
    image_u8[size_px // 8 : -size_px // 4, size_px // 8 : size_px // 3] = 230
    image_u8[-size_px // 3 : -size_px // 8, -size_px // 3 : -size_px // 8] = 150
    return image_u8


def overfit(like: Preset) -> tuple[NDArray[np.float32], bytes, NDArray[np.uint8]]:
    """A sample of a small network that learned one image by the data and the objective of `like`, and a sheet of it."""
    of_preset = ("value_range", "transpose", "resize", "jpeg_quality", "loss_weighting", "schedule")
    changes = {name: getattr(like, name) for name in of_preset}
    changes["schedule"] = changes["schedule"].model_dump()
    preset = MICRO.replace({**changes, "unet": UNET, "epochs": 130, "learning_rate": 4e-3, "batch_size": 8})
    image_u8 = asymmetric_image()
    data = TrainingData(np.stack([prepare_image(image_u8, preset)] * 16))
    model = train_model(data, preset, seed=0, progress=NoProgress())
    network, _ = load_network(write_weights(model.weights["average"], preset))
    plan = SamplingPlan(preset.size_px, preset.value_range, 0, range(1), 1)
    sampler = build_sampler("ddim", 25, preset.schedule)
    ((_, image_unit),) = sample_unit_images(network, sampler, plan, progress=NoProgress())
    sheet = draw_sheet(network, model.weights["average"], preset, seed=0, progress=NoProgress())
    return image_unit, sheet, shrink_image(image_u8, preset.size_px, "area")


def likeness(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def most_alike(image: NDArray[np.generic], original: NDArray[np.generic]) -> str:
    candidates = {
        f"{mirror} {quarters}": np.rot90(original[:, ::-1] if mirror == "mirrored" else original, quarters)
        for mirror in ("upright", "mirrored") for quarters in range(4)
    }  # fmt: skip
    found = max(candidates, key=lambda name: likeness(image, candidates[name]))
    assert likeness(image, candidates[found]) > 0.6
    return found


def test_rigorous_returns_the_image_as_it_was() -> None:
    image_unit, sheet, original = overfit(RIGOROUS)
    assert most_alike(image_unit, original) == "upright 0"
    assert most_alike(decode_gray(sheet)[:16, :16], original) == "upright 0"


def test_the_studys_chain_returns_it_mirrored() -> None:
    image_unit, _, original = overfit(STUDY)
    assert most_alike(image_unit, original) == "mirrored 1"  # transposed
    stored = decode_gray(to_study_jpeg(image_unit))
    assert stored.shape == (32, 32)
    assert most_alike(shrink_image(stored, 16, "area"), original) == "mirrored 0"


def test_transposing_and_turning_by_minus_90_degrees_mirrors() -> None:
    image_u8 = asymmetric_image()
    np.testing.assert_array_equal(np.rot90(image_u8.T, -1), image_u8[:, ::-1])
