"""What a file of weights says of itself is read whole, or refused by the name of what is wrong."""

import json
from typing import Any

import pytest

from services.generator.models.training_record import (
    RecordUnreadable,
    read_own_preset,
    read_training,
)
from services.generator.models.weight_files import FACTS
from tests.services.generator.micro import MICRO

PRESET = MICRO.model_dump(mode="json")
GOOD = {"epochs": 2, "precision": "bfloat16, then float32", "curves": {"loss": [0.5]}, "training_planes": {"axial": 3}}


def facts(**said: Any) -> dict[str, str]:
    return {FACTS: json.dumps(said)}


def test_a_file_of_others_says_nothing() -> None:
    for metadata in ({}, {"format": "pt"}, facts(), facts(preset=None, training=None)):
        assert read_own_preset(metadata) is None
        assert read_training(metadata) is None


def test_what_the_platform_writes_is_read() -> None:
    assert read_own_preset(facts(preset=PRESET)) == MICRO
    record = read_training(facts(preset=PRESET, training={**GOOD, "class": "glioma", "of_the_future": [1]}))
    assert record is not None
    described = record.describe()
    assert {name: described[name] for name in GOOD if name != "curves"} == {
        name: value for name, value in GOOD.items() if name != "curves"
    }
    assert described["curves"]["loss"] == [0.5]
    assert record.tumour_class == "glioma"


def test_a_damaged_preset_does_not_matter_where_another_is_named() -> None:
    damaged = facts(preset={"unet": 1}, training=GOOD)
    with pytest.raises(RecordUnreadable, match="cannot be read"):
        read_own_preset(damaged)
    assert read_training(damaged) is not None


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("epochs", -1),
        ("epochs", "many"),
        ("updates", 10**400),
        ("final_loss", float("nan")),
        ("seconds", float("inf")),
        ("precision", "bananas"),
        ("device", "x" * 201),
        ("device", "\ud800"),
        ("image_set", "../else"),
        ("class", "cyst"),
        ("curves", {"loss": "falling"}),
        ("curves", {"measurements": [{"epoch": 1}]}),
        ("warnings", [{"code": "c"}]),
        ("training_planes", {str(number): 1 for number in range(101)}),
        ("training_planes", {"\ud800": 1}),
        ("notes", ["n" * 2001]),
    ],
)
def test_a_strange_record_is_refused_with_what_to_do(member: str, value: object) -> None:
    with pytest.raises(RecordUnreadable, match="save the tensors without that metadata") as caught:
        read_training(facts(training={**GOOD, member: value}))
    caught.value.detail.encode()


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "a\x00", "\ud800", "a b"])
def test_the_name_of_a_files_preset_is_one_that_may_be_shown_and_stored(name: str) -> None:
    with pytest.raises(RecordUnreadable):
        read_own_preset(facts(preset={**PRESET, "name": name}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"a"', "[" * 100_000, "9" * 5000])
def test_strange_facts_are_refused(text: str) -> None:
    with pytest.raises(RecordUnreadable):
        read_training({FACTS: text})
    with pytest.raises(RecordUnreadable):
        read_own_preset({FACTS: text})
