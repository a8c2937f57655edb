"""Presets, what a request may change about them, and the equal number of updates."""

import pytest

from services.classifier.presets import PRESETS, TrainingConfig, choose_preset, equal_updates
from shared.errors import InvalidInput


def test_the_study_preset_is_the_studys() -> None:
    # Study, section 5.1.
    preset = PRESETS["study"]
    assert (preset.network.architecture, preset.network.size_px, preset.network.input_space) == ("vgg19", 256, "raw")
    training = preset.training
    assert (training.epochs, training.batch_size, training.learning_rate) == (5, 32, 1e-4)
    assert (training.schedule, training.order, training.augmentation) == ("constant", "once", "none")


@pytest.mark.parametrize(("n", "updates"), [(3207, 500), (3608, 560), (5607, 875), (2400, 375), (72, 10), (720, 110)])
def test_the_study_preset_makes_the_studys_number_of_updates(n: int, updates: int) -> None:
    # Study, sections 5.1 and 6, column "updates".
    assert PRESETS["study"].training.n_updates(n) == updates


def test_a_request_changes_what_it_names_and_nothing_else() -> None:
    preset = choose_preset("vgg19-compact", epochs=3, size_px=96)
    default = PRESETS["vgg19-compact"]
    assert (preset.training.epochs, preset.network.size_px) == (3, 96)
    assert preset.training.learning_rate == default.training.learning_rate
    assert choose_preset("vgg19") == PRESETS["vgg19"]


def test_unknown_presets_and_other_sizes_of_the_study_are_refused() -> None:
    with pytest.raises(InvalidInput, match="vgg19-compact"):
        choose_preset("resnet")
    with pytest.raises(InvalidInput, match="256 px"):
        choose_preset("study", size_px=128)


def test_equal_updates_are_those_of_the_largest_composition() -> None:
    config = TrainingConfig(epochs=5, batch_size=32)
    equal = equal_updates(config, [72, 720, 144])
    assert [equal.n_updates(n) for n in (72, 144, 720)] == [110, 110, 110]


def test_a_set_smaller_than_a_batch_still_gets_updates() -> None:
    assert TrainingConfig(epochs=4, batch_size=32).n_updates(9) == 4
