import pytest

from services.generator.network import build_network, count_parameters
from services.generator.preset import PresetValueInvalid
from services.generator.presets import PRESETS, STUDY, TINY, PresetUnknown, find_preset


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
    assert least <= count_parameters(build_network(find_preset(name).unet)) <= most


def test_study_is_the_published_recipe() -> None:
    assert (STUDY.schedule.train_steps, STUDY.schedule.beta_start, STUDY.schedule.beta_end) == (1000, 1e-4, 2e-2)
    assert (STUDY.schedule.prediction, STUDY.schedule.clip) == ("epsilon", True)
    assert (STUDY.learning_rate, STUDY.batch_size, STUDY.epochs, STUDY.size_px) == (2.5e-5, 16, 750, 128)
    assert (STUDY.value_range, STUDY.ema_decay, STUDY.sampler, STUDY.sampler_steps) == ((0, 1), None, "ddpm", 1000)
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
    ],
)
def test_a_value_that_cannot_work_is_named(values: dict[str, float], reason: str) -> None:
    with pytest.raises(PresetValueInvalid, match=reason):
        TINY.override(**values)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(PresetUnknown, match="study, rigorous, compact, tiny, tiny-32"):
        find_preset("huge")


def test_default_steps_follow_the_sampler() -> None:
    assert [TINY.steps_for("ddim"), TINY.steps_for("ddpm")] == [50, 1000]
    assert [STUDY.steps_for("ddim"), STUDY.steps_for("ddpm")] == [50, 1000]


def test_step_size_rises_stays_and_falls() -> None:
    preset = TINY.model_copy(update={"learning_rate": 1.0, "warmup_updates": 4, "cooldown_share": 0.5})
    rates = [preset.learning_rate_at(k, 20) for k in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[9:12] == [1.0, 1.0, 0.9]
    assert rates[19] == pytest.approx(0.1)
    assert {STUDY.learning_rate_at(k, 100) for k in range(100)} == {2.5e-5}
