import json
import random
from typing import Any, Literal

import numpy as np
import pytest
import torch

from services.generator.images import TooFewImages, decode_gray
from services.generator.models.checkpoints import read_tensors, write_tensors
from services.generator.models.network import choose_device, training_dtype
from services.generator.models.preset import Preset, ScheduleConfig
from services.generator.training.batches import scale_images
from services.generator.training.data import TrainingData
from services.generator.training.loop import TrainedModel, TrainingDiverged, TrainingOutOfMemory, train_model
from services.generator.training.resume import ResumeBundleMismatch, read_resume
from shared.progress import Cancelled, NoProgress, Stopping
from shared.tumour import TumourClass
from tests.services.generator.micro import MICRO, Recorder, draw_images

IMAGES = TrainingData(draw_images(10))  # batches of 4, 4 and 2: nine updates in MICRO's three epochs
NUMBERS = np.arange(10) % 2
SPLIT = TrainingData(draw_images(10), draw_images(5, seed=1), NUMBERS, NUMBERS[:5])
CLASSES = ("glioma", "pituitary")
# All that a training can have: held-out images, sheets, rotation, weights, classes; the best weights are the result.
FULL = MICRO.replace(
    {
        "validation_share": 0.3,
        "validate_every": 1,
        "sample_every": 2,
        "rotation_deg": 20,
        "loss_weighting": "min_snr",
        "gradient_clip": 0.5,
        "keep": "best",
        "classes": CLASSES,
        "class_dropout": 0.3,
        "epochs": 4,
        "schedule": {"betas": "cosine", "prediction": "v_prediction", "train_steps": 50},
    }
)


def train(preset: Preset = MICRO, seed: int = 1, data: TrainingData = IMAGES, **more: Any) -> TrainedModel:
    return train_model(data, preset, seed=seed, **{"progress": NoProgress(), **more})


@pytest.fixture(scope="module")
def undisturbed() -> TrainedModel:
    return train()


@pytest.fixture(scope="module")
def full() -> tuple[TrainedModel, dict[str, bytes]]:
    files: dict[str, bytes] = {}
    return train(FULL, data=SPLIT, publish=files.__setitem__), files


def assert_same(one: TrainedModel, other: TrainedModel) -> None:
    for model in (one, other):
        for measurement in model.curves["measurements"]:
            measurement.pop("images_per_s", None)  # measured time, the one thing that may differ
    assert one.curves == other.curves
    assert (one.chosen, one.n_updates) == (other.chosen, other.n_updates)
    assert one.weights.keys() == other.weights.keys()
    for kind, weights in one.weights.items():
        for name, tensor in weights.items():
            assert torch.equal(tensor, other.weights[kind][name]), (kind, name)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(undisturbed: TrainedModel) -> None:
    assert_same(train(), undisturbed)
    assert train(seed=2).curves["loss"] != undisturbed.curves["loss"]


@pytest.mark.parametrize("how", [Cancelled, Stopping])
@pytest.mark.parametrize("stop_at", sorted(random.Random(33).sample(range(9), 4)))
def test_a_stopped_training_goes_on_to_the_same_bits(
    stop_at: int, how: type[Exception], undisturbed: TrainedModel
) -> None:
    saved: list[bytes] = []
    with pytest.raises(how):
        train(progress=Recorder(stop_at=stop_at, how=how), save=saved.append)
    assert len(saved) == 1
    progress = Recorder()
    resumed = train(progress=progress, save=saved.append, resume=saved[0])
    assert [done for done, _ in progress.updates] == list(range(stop_at + 1, 10))
    assert_same(resumed, undisturbed)


def test_a_killed_training_goes_on_from_any_timed_bundle(undisturbed: TrainedModel) -> None:
    saved: list[bytes] = []
    train(save=saved.append, save_every_s=0.0)
    assert len(saved) == 10  # before each update, and before the last look back
    for data in (saved[0], saved[4], saved[9]):
        assert_same(train(resume=data), undisturbed)


def test_a_training_with_everything_goes_on_from_any_point(full: tuple[TrainedModel, dict[str, bytes]]) -> None:
    """Also from within a validation or a sheet, whose every batch and denoising step asks whether to go on."""
    model, files = full
    counter = Recorder()
    train(FULL, data=SPLIT, progress=counter)
    moments = random.Random(34).sample(range(counter.asked), 8)
    for moment in moments:
        saved: list[bytes] = []
        again: dict[str, bytes] = {}
        with pytest.raises(Cancelled):
            train(FULL, data=SPLIT, progress=Recorder(moment), save=saved.append, publish=again.__setitem__)
        assert_same(train(FULL, data=SPLIT, resume=saved[0], publish=again.__setitem__), model)
        assert again.keys() == files.keys()
        assert all(again[name] == data for name, data in files.items() if name.endswith(".png"))


def test_all_sets_of_weights_are_kept_and_the_best_is_chosen(full: tuple[TrainedModel, dict[str, bytes]]) -> None:
    model, _ = full
    assert set(model.weights) == {"raw", "average", "best_raw", "best_average"}
    assert model.chosen == "best_average"
    for loss, last in (("validation_loss", "raw"), ("average_validation_loss", "average")):
        losses = [measurement[loss] for measurement in model.curves["measurements"]]
        assert len(losses) == 4
        is_last = int(np.argmin(losses)) == 3
        same = all(
            torch.equal(tensor, model.weights[f"best_{last}"][name]) for name, tensor in model.weights[last].items()
        )
        assert same == is_last


def test_curves_and_sheets_are_published(full: tuple[TrainedModel, dict[str, bytes]]) -> None:
    model, files = full
    assert set(files) == {"curves.json", "samples_epoch_0002.png", "samples_epoch_0004.png"}
    assert json.loads(files["curves.json"])["epoch"] == [1, 2, 3, 4] == model.curves["epoch"]
    assert decode_gray(files["samples_epoch_0002.png"]).shape == (2 * 16, 4 * 16)  # a row of four for each class
    pairs = zip(model.curves["loss"], model.curves["weighted_loss"], strict=True)
    assert all(weighted < plain for plain, weighted in pairs)  # of v, min-SNR's weights are below 1


def test_validation_compares_like_with_like() -> None:
    """With a step size of nearly 0 the weights stay, so every measurement must give the same loss, and equal EMA's."""
    preset = FULL.replace({"learning_rate": 1e-12, "sample_every": None, "keep": "last"})
    measurements = train(preset, data=SPLIT).curves["measurements"]
    losses = [m[name] for m in measurements for name in ("validation_loss", "average_validation_loss")]
    assert losses == pytest.approx([losses[0]] * 8, abs=1e-6)


def test_a_training_that_no_longer_improves_ends_early_and_resumes_to_the_same_end() -> None:
    preset = FULL.replace(
        {"epochs": 50, "patience": 2, "learning_rate": 0.02, "sample_every": None, "warmup_updates": 0}
    )
    saved: list[bytes] = []
    model = train(preset, data=SPLIT, save=saved.append, save_every_s=0.0)
    losses = [measurement["average_validation_loss"] for measurement in model.curves["measurements"]]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 50
    assert model.n_updates == 3 * len(losses)
    assert_same(train(preset, data=SPLIT, resume=saved[-1]), model)


def test_without_average_the_weights_are_the_last_ones_and_resume_alike() -> None:
    preset = MICRO.replace({"ema_decay": None})
    saved: list[bytes] = []
    whole = train(preset, save=saved.append, save_every_s=0.0)
    assert set(whole.weights) == {"raw"}
    assert whole.chosen == "raw"
    assert_same(train(preset, resume=saved[5]), whole)


@pytest.mark.parametrize(
    "other", [TrainingData(draw_images(10)[::-1].copy()), TrainingData(draw_images(10), draw_images(1)), SPLIT]
)
def test_a_bundle_of_other_images_is_refused(other: TrainingData) -> None:
    saved: list[bytes] = []
    with pytest.raises(Cancelled):
        train(progress=Recorder(stop_at=2), save=saved.append)
    with pytest.raises(ResumeBundleMismatch):
        train(data=other, resume=saved[0])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loss_falls_on_a_few_images(prediction: Literal["epsilon", "v_prediction"]) -> None:
    preset = MICRO.override(epochs=30, learning_rate=1e-2, schedule=ScheduleConfig(prediction=prediction))
    losses = train(preset).curves["loss"]
    assert losses[0] == pytest.approx(1, abs=0.4)  # The untrained network predicts 0; eps and v have power near 1.
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_a_conditional_network_learns_which_class_is_which() -> None:
    """Two classes of one flat image each, dark and bright: told the class, the network knows x_0 from pure noise."""
    levels = np.where(np.arange(16) < 8, 20, 235).astype(np.uint8)
    images_u8 = np.repeat(np.repeat(levels[:, None, None], 16, 1), 16, 2)
    images_u8[:, 0, 0] = 128
    preset = MICRO.replace(
        {
            "classes": CLASSES,
            "epochs": 60,
            "learning_rate": 5e-3,
            "schedule": {"prediction": "v_prediction"},
            "class_dropout": 0.2,
        }
    )
    model = train(preset, data=TrainingData(images_u8, classes=(np.arange(16) >= 8).astype(np.int64)))
    from services.generator.models.network import build_network

    network = build_network(preset.unet)
    network.load_state_dict(model.weights["average"])
    noise = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        v = network(noise, torch.full((2,), 999), torch.tensor([0, 1]))
    x_0 = -v.mean(dim=(1, 2, 3))  # at the last timestep alpha_bar is nearly 0, so v = -x_0
    assert x_0[0] < -0.3 < 0.3 < x_0[1]


def test_progress_hears_of_every_update(undisturbed: TrainedModel) -> None:
    progress = Recorder()
    model = train(progress=progress)
    assert progress.updates == [(k, 9) for k in range(1, 10)]
    assert progress.asked == 9
    assert set(progress.notes[-1]) == {"epoch", "epochs", "loss", "images_per_s"}
    assert [note["epoch"] for note in progress.notes] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert len(model.curves["loss"]) == 3
    assert model.images_per_s == pytest.approx(30 / model.seconds)


def test_unsuitable_images_cost_no_update() -> None:
    progress = Recorder()
    with pytest.raises(TooFewImages):
        train(data=TrainingData(draw_images(3)), progress=progress)
    assert progress.asked == 0


def test_a_diverging_training_says_so() -> None:
    wild = MICRO.model_copy(update={"learning_rate": 1e30, "epochs": 20})
    with pytest.raises(TrainingDiverged, match="smaller learning_rate than 1e\\+30"):
        train(wild)


def test_training_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    train(FULL.override(epochs=2), data=SPLIT)
    assert torch.equal(torch.get_rng_state(), before)


def test_gray_levels_map_onto_the_whole_value_range() -> None:
    levels = np.array([[[0, 51], [204, 255]]], np.uint8)
    expected = torch.tensor([[[[-1.0, -0.6], [0.6, 1.0]]]])
    torch.testing.assert_close(scale_images(levels, (-1.0, 1.0)), expected)
    torch.testing.assert_close(scale_images(levels, (0.0, 1.0)), (expected + 1) / 2)


def test_bfloat16_is_used_where_the_machine_multiplies_it() -> None:
    native = torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()
    assert training_dtype(choose_device()) == (torch.bfloat16 if native else torch.float32)


def test_precision_is_what_the_preset_says() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for device in (cpu, gpu):
        assert training_dtype(device, "float32") == torch.float32
        assert training_dtype(device, "bfloat16") == torch.bfloat16
    assert (training_dtype(cpu, "float16"), training_dtype(gpu, "float16")) == (torch.float32, torch.float16)
    exact, rounded = (train(MICRO.override(precision=name)) for name in ("float32", "bfloat16"))
    assert (exact.precision, rounded.precision) == ("float32", "bfloat16")
    assert exact.curves["loss"] != rounded.curves["loss"]
    assert exact.curves["loss"] == pytest.approx(rounded.curves["loss"], rel=0.02)  # bfloat16 keeps 8 bits


def test_a_training_goes_on_in_the_arithmetic_it_began_in(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[bytes] = []
    preset = MICRO.override(precision="bfloat16")
    whole = train(preset, save=saved.append, save_every_s=0.0)
    tensors, facts = read_tensors(saved[4])
    usual = write_tensors(
        tensors, {**facts, "training": {**facts["training"], "preset": MICRO.model_dump(mode="json")}}
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # `auto` is now float32
    resumed = train(MICRO, resume=usual)
    assert resumed.precision == "bfloat16"
    assert_same(resumed, whole)
    began_on_gpu = write_tensors(tensors, {**facts, "precision": "float16"})
    if choose_device().type == "cpu":
        assert train(preset, resume=began_on_gpu).precision == "float16, then float32"


def test_a_bundle_of_a_version_that_knew_fewer_fields_is_gone_on_from(undisturbed: TrainedModel) -> None:
    saved: list[bytes] = []
    train(save=saved.append, save_every_s=0.0)
    tensors, facts = read_tensors(saved[4])
    del facts["training"]["preset"]["min_snr_gamma"]
    assert_same(train(resume=write_tensors(tensors, facts)), undisturbed)
    facts["training"]["preset"]["min_snr_gamma"] = 4.0
    with pytest.raises(ResumeBundleMismatch):
        train(resume=write_tensors(tensors, facts))


def test_what_was_learned_is_saved_before_the_look_back_of_an_epoch() -> None:
    """Else a worker that dies in a long validation or sheet loses the epoch."""
    saved: list[bytes] = []
    published: list[int] = []
    preset = FULL.replace({"epochs": 1, "sample_every": 1})
    train(preset, data=SPLIT, save=saved.append, save_every_s=0.0, publish=lambda *_: published.append(len(saved)))
    assert published[0] == len(saved) == 4  # before each of three updates, and before the sheet
    assert len(read_resume(saved[-1]).losses) == 3


def test_a_full_gpu_is_named_with_what_to_lower() -> None:
    with pytest.raises(TrainingOutOfMemory, match="smaller batch_size"):
        train(progress=Recorder(stop_at=2, how=torch.OutOfMemoryError))


def test_weights_that_diverge_in_the_last_update_are_no_model() -> None:
    with pytest.raises(TrainingDiverged, match="learning_rate"):
        train(MICRO.model_copy(update={"learning_rate": float("inf"), "epochs": 1, "batch_size": 16}))


def test_a_validation_that_is_no_number_fails_no_training_and_is_not_the_best() -> None:
    """One update of an enormous step: the weights stay finite, what the network makes of images does not."""
    preset = FULL.replace({"epochs": 1, "batch_size": 16, "sample_every": None, "warmup_updates": 0})
    progress, files = Recorder(), {}
    model = train(
        preset.model_copy(update={"learning_rate": 1e30}), data=SPLIT, progress=progress, publish=files.__setitem__
    )
    assert model.chosen == "average"
    assert set(model.weights) == {"raw", "average"}
    assert not np.isfinite(progress.notes[-1]["validation_loss"])
    assert [each["validation_loss"] for each in model.curves["measurements"]] == [None]
    json.dumps(model.curves, allow_nan=False)
    assert json.loads(files["curves.json"])["measurements"] == model.curves["measurements"]


def test_samples_that_are_no_numbers_end_no_training() -> None:
    """The same step: the sheet after it cannot be drawn, and the training has its weights all the same."""
    preset = FULL.replace({"epochs": 1, "batch_size": 16, "sample_every": 1, "warmup_updates": 0})
    progress, files = Recorder(), {}
    model = train(
        preset.model_copy(update={"learning_rate": 1e30}), data=SPLIT, progress=progress, publish=files.__setitem__
    )
    assert model.n_updates == 1
    assert list(files) == ["curves.json"]
    assert any("after epoch 1 were no numbers" in str(note.get("samples")) for note in progress.notes)


def test_samples_that_do_not_fit_into_memory_end_no_training(undisturbed: TrainedModel) -> None:
    progress, files = Recorder(stop_at=9, how=torch.OutOfMemoryError), {}  # asked before each of nine updates
    model = train(MICRO.replace({"sample_every": 3}), progress=progress, publish=files.__setitem__)
    assert list(files) == ["curves.json"]
    assert "did not fit into memory" in str(progress.notes[-1]["samples"])
    assert_same(model, undisturbed)


def test_a_clipped_gradient_bounds_the_update() -> None:
    """Adam's first step is the same for any scale of the gradient, so the clip shows in its moments."""
    saved: list[bytes] = []
    train(MICRO.override(gradient_clip=1e-3, epochs=1), save=saved.append, save_every_s=0.0)
    moments = read_resume(saved[1]).optimizer  # after one update
    norm = torch.cat([moment["exp_avg"].flatten() for moment in moments]).norm().item()
    assert norm == pytest.approx(0.1 * 1e-3, rel=1e-3)  # (1 - beta_1) times the clipped norm


def test_classes_are_named_by_the_vocabulary() -> None:
    assert FULL.classes == (TumourClass.GLIOMA, TumourClass.PITUITARY)
    assert FULL.unet.n_classes == 2
