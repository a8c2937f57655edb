"""What is known to leak is refused unless somebody says why not; what is unknown is said."""

from typing import Any

import pytest

from shared.artifacts.leakage import KnownLeakage, find_crossing_patients, note_on_test_set, require_no_leakage
from shared.artifacts.store import Artifact


def artifact(kind: str = "preprocessed") -> Artifact:
    return Artifact("set-1", "image_set", kind, "scans", "team", None, None, "0", {}, 0.0)


def manifest(kept: int = 0, **members: Any) -> dict[str, Any]:
    leakage = {"checked": True, "exact": 3, "near": 2, "groups": 0, "kept": kept, "waiver": None}
    return {"id": "set-1", "leakage": {**leakage, **members}}


def test_a_clean_set_has_nothing_to_say() -> None:
    assert require_no_leakage(artifact(), manifest(kept=0), None) == []
    assert require_no_leakage(artifact(), manifest(kept=0), "not needed") == []


def test_known_leakage_is_refused_with_its_numbers_and_both_ways_out() -> None:
    with pytest.raises(KnownLeakage) as caught:
        require_no_leakage(artifact(), manifest(kept=5), None)
    assert (caught.value.status, caught.value.code) == (409, "known_leakage")
    for words in ("5 Testing images of image set set-1 occur", "exact: 3", "near-duplicate: 2", "`across_splits`"):
        assert words in caught.value.detail
    assert "`leakage_waiver`" in caught.value.detail
    assert "patient" not in caught.value.detail
    with pytest.raises(KnownLeakage, match=r"1 Testing image of image set set-1 occurs .*groups in both splits: 1"):
        require_no_leakage(artifact(), manifest(kept=1, groups=1), None)


@pytest.mark.parametrize(
    ("own", "asked", "said"),
    [
        (None, "a replay", 'the request: "a replay"'),
        ("The study's protocol keeps them", None, "the set's preprocessing: \"The study's protocol keeps them\""),
        ("kept", "known", 'the request: "known" and the set\'s preprocessing: "kept"'),
    ],
)
def test_a_waiver_lets_pass_and_is_repeated(own: str | None, asked: str | None, said: str) -> None:
    (note,) = require_no_leakage(artifact(), manifest(kept=5, waiver=own), asked)
    assert "5 Testing images" in note
    assert note.endswith(f"Waived by {said}.")


def test_patients_named_since_need_a_waiver_too() -> None:
    images = [
        {"split": "Training", "group": "p1"},
        {"split": None, "group": "p2"},
        {"split": "Testing", "group": "p1"},
        {"split": "Testing", "group": "p2"},
        {"split": "Testing", "group": "p3"},
        {"split": "Training"},
    ]
    crossing = find_crossing_patients(images)
    assert crossing == {"p1", "p2"}
    with pytest.raises(KnownLeakage, match=r"2 patient group\(s\) .* \(p1, p2\)"):
        require_no_leakage(artifact(), manifest(kept=0), None, crossing)
    (note,) = require_no_leakage(artifact(), manifest(kept=0), "a replay", crossing)
    assert note.endswith('Waived by "a replay".')


def test_unknown_is_said_and_never_refused() -> None:
    (raw,) = require_no_leakage(artifact("raw"), {"id": "set-1"}, None)
    assert raw.endswith("was never checked for leakage between Training and Testing: preprocess it.")
    for old in ({"id": "set-1"}, {"id": "set-1", "leakage": None}, manifest(kept=0, checked=False)):
        (note,) = require_no_leakage(artifact(), old, "any reason")
        assert note.endswith("preprocess its raw set again.")


def test_another_test_set_is_unknown_whatever_its_parents() -> None:
    real, same = {"id": "set-1", "parents": ["raw-1"]}, {"id": "set-2", "parents": ["raw-1"]}
    assert note_on_test_set(real, real) == []
    for other in (same, {"id": "set-3", "parents": ["raw-2"]}, {"id": "set-3", "parents": []}, {"id": "set-3"}):
        assert "never checked" in note_on_test_set(real, other)[0]
    assert note_on_test_set({"id": "raw-1", "parents": []}, {"id": "raw-2", "parents": []}) != []
