import re
from pathlib import Path
from typing import Any

import pytest
import torch

from services import generator
from services.generator.models.network import build_network
from services.generator.models.preset import LEAST_ALPHA_BAR, SAMPLER_NAMES, Preset, PresetValueInvalid, SamplerName
from services.generator.models.preset_fields import describe_fields
from services.generator.models.presets import PRESETS, STUDY, TINY, PresetUnknown, find_preset
from services.generator.sampling.samplers import build_sampler, training_schedule
from shared.tumour import TumourClass


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("study", 18_500_993, 18_500_993),  # counted from the study's own network
        ("compact", 5_500_000, 6_000_000),
        ("tiny", 900_000, 1_200_000),
        ("tiny-32", 900_000, 1_200_000),
    ],
)
def test_networks_have_the_promised_number_of_parameters(name: str, least: int, most: int) -> None:
    network = build_network(find_preset(name).unet)
    assert least <= sum(parameter.numel() for parameter in network.parameters()) <= most


def test_study_is_the_published_recipe() -> None:
    assert (STUDY.schedule.train_steps, STUDY.schedule.beta_start, STUDY.schedule.beta_end) == (1000, 1e-4, 2e-2)
    assert (STUDY.schedule.prediction, STUDY.schedule.clip) == ("epsilon", True)
    assert (STUDY.learning_rate, STUDY.batch_size, STUDY.epochs, STUDY.size_px) == (2.5e-5, 16, 750, 128)
    assert (STUDY.value_range, STUDY.ema_decay, STUDY.sampler, STUDY.sampler_steps) == ((0, 1), None, "ddpm", 1000)
    assert (STUDY.resize, STUDY.jpeg_quality, STUDY.transpose, STUDY.validation_share) == ("bilinear", 95, True, 0.2)
    assert set(STUDY.balanced_classes) == set(TumourClass) - {TumourClass.NOTUMOR}
    assert (STUDY.rotation_deg, STUDY.loss_weighting, STUDY.gradient_clip, STUDY.keep) == (0, "uniform", None, "last")
    assert (STUDY.precision, STUDY.validate_every, STUDY.patience) == ("float16", 10, None)
    assert STUDY.count_updates(555) == 750 * 35  # study: 555 glioma training images are 35 steps an epoch


def test_all_other_presets_centre_values_and_average_weights() -> None:
    for preset in PRESETS.values():
        assert preset.size_px % preset.unet.size_multiple_px == 0
        if preset is not STUDY:
            assert preset.value_range == (-1, 1)
            assert preset.ema_decay is not None


def test_override_replaces_what_is_given_and_keeps_the_rest() -> None:
    changed = TINY.override(epochs=7, size_px=32, learning_rate=None)
    assert changed == TINY.model_copy(update={"epochs": 7, "size_px": 32})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"size_px": 60}, "multiple of 8 px"),
        ({"size_px": 512}, "size_px"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 10_000}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"gradient_clip": float("inf")}, "gradient_clip"),
        ({"value_range": (1, -1)}, "value_range must rise"),
        ({"value_range": (-2, 2)}, "value_range must lie within"),
        ({"value_range": (0, float("inf"))}, "value_range"),
        ({"schedule": {"beta_end": 0.3}}, "lower beta_end"),
        ({"schedule": {"train_steps": 1001}}, "train_steps"),
        ({"schedule": {"train_steps": 20}, "sampler_steps": 21}, "sampler_steps is 21"),
        ({"unet": {"res_blocks": 5}}, "res_blocks"),
        ({"classes": ["glioma"]}, "two or more"),
        ({"classes": ["glioma", "glioma"]}, "two or more"),
        ({"classes": "glioma"}, "classes"),
        ({"unet": {"n_classes": 3}}, "number of classes, 0"),
        ({"keep": "best"}, "validation_share above 0"),
        ({"unet": {"channels": [30, 60, 60]}}, "multiple of norm_groups, 16"),
        ({"unet": {"head_channels": 48}}, "multiples of head_channels, 48"),
        ({"unet": 3}, "unet"),
    ],
)
def test_a_value_that_cannot_work_is_named(values: dict[str, float], reason: str) -> None:
    with pytest.raises(PresetValueInvalid, match=reason):
        TINY.override(**values)


def test_replace_takes_none_for_a_value_and_override_for_nothing() -> None:
    assert TINY.replace({"ema_decay": None}).ema_decay is None
    assert TINY.override(ema_decay=None) == TINY
    changed = TINY.replace({"schedule": {"betas": "cosine"}, "classes": ["notumor", "glioma"]})
    assert changed.schedule == TINY.schedule.model_copy(update={"betas": "cosine"})
    assert (changed.unet.n_classes, changed.replace({"classes": []}).unet.n_classes) == (2, 0)


def test_every_field_is_read_by_the_code_and_described_in_the_api() -> None:
    folder = Path(generator.__file__).parent
    code = "\n".join(path.read_text() for path in folder.rglob("*.py") if path.name != "presets.py")
    fields = describe_fields()
    for name in Preset.model_fields:
        assert re.search(rf"(preset|self|like)\.{name}\b", code), name
        if name != "name":
            assert "$ref" not in str(fields[name])
            assert fields[name].get("description"), name


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(PresetUnknown, match="study, rigorous, compact, tiny, tiny-32"):
        find_preset("huge")


def test_default_steps_follow_the_sampler() -> None:
    assert [TINY.steps_for("ddim"), TINY.steps_for("ddpm")] == [50, 1000]
    assert [STUDY.steps_for("ddim"), STUDY.steps_for("ddpm")] == [50, 1000]


def test_no_sampler_takes_more_steps_than_the_network_learned() -> None:
    short = TINY.replace({"schedule": {"train_steps": 10}})
    assert short.sampler_steps == 10
    assert {short.steps_for(sampler) for sampler in SAMPLER_NAMES} == {10}
    assert TINY.replace({"schedule": {"train_steps": 10}, "sampler_steps": 7}).sampler_steps == 7
    assert TINY.replace({"schedule": {"clip": False}, "value_range": (-2, 2)}).value_range == (-2, 2)


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
@pytest.mark.parametrize("values", [{"beta_end": 0.0405}, {"betas": "cosine"}, {"train_steps": 50, "beta_end": 0.55}])
def test_the_shortest_allowed_signal_samples_without_nan(sampler: SamplerName, values: dict[str, Any]) -> None:
    schedule = TINY.replace({"schedule": {"prediction": "epsilon", **values}}).schedule
    assert training_schedule(schedule).alphas_cumprod[-1] > LEAST_ALPHA_BAR
    drawn = build_sampler(sampler, 10, schedule)
    x_t = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for i in range(10):
        x_t = drawn.step(x_t, i, x_t, torch.zeros_like(x_t))
    assert x_t.isfinite().all()


def test_step_size_rises_stays_and_falls() -> None:
    preset = TINY.model_copy(update={"learning_rate": 1.0, "warmup_updates": 4, "cooldown_share": 0.5})
    rates = [preset.learning_rate_at(k, 20) for k in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[9:12] == [1.0, 1.0, 0.9]
    assert rates[19] == pytest.approx(0.1)
    assert {STUDY.learning_rate_at(k, 100) for k in range(100)} == {2.5e-5}
