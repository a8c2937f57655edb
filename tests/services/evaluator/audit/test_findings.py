import copy
from collections import Counter

import numpy as np
import pytest

from services.evaluator.audit.diversity import measure_diversity
from services.evaluator.audit.findings import list_findings
from services.evaluator.audit.memorisation import find_copies
from services.evaluator.audit.shortcuts import measure_shortcuts
from services.evaluator.audit.wording import name_classes, percent
from tests.services.evaluator.audit.conftest import draw_heads, make_images


@pytest.fixture(scope="module")
def mirrored_class() -> dict:
    reference = make_images(draw_heads(80, 1), "real")
    images = draw_heads(30, 2)[:, :, ::-1].copy()
    images[4] = reference.images_u8[9]
    synthetic = make_images(images, "syn")
    return {
        "memorisation": find_copies(synthetic, reference, None),
        "shortcuts": measure_shortcuts(synthetic, reference, None),
        "diversity": measure_diversity(synthetic, reference, None),
    }


def test_what_all_classes_share_is_said_once_and_worst_comes_first(mirrored_class: dict) -> None:
    both = {"glioma": mirrored_class, "notumor": copy.deepcopy(mirrored_class)}
    findings = list_findings(both, None)
    mirrored = [f for f in findings if "mirrored left to right" in f["sentence"]]
    assert len(mirrored) == 1
    assert mirrored[0]["class"] is None
    assert mirrored[0]["sentence"].startswith("Both classes are mirrored left to right")
    order = ["problem", "notice", "fine"]
    severities = [order.index(f["severity"]) for f in findings]
    assert severities == sorted(severities)
    copies = [f for f in findings if f["check"] == "memorisation"]
    assert {f["class"] for f in copies} == {"glioma", "notumor"}
    assert all("syn_4.png is real_9.png" in f["sentence"] for f in copies)
    assert all(f["sentence"].endswith(".") for f in findings)


def test_a_finding_says_what_real_images_of_that_size_have(mirrored_class: dict) -> None:
    small = copy.deepcopy(mirrored_class)
    for cue in small["shortcuts"]["cues"]:
        if cue["cue"] == "sharpness":
            sides = {"synthetic": {"median": 90.0}, "reference": {"median": 180.0}}
            sides["reference_at_size"] = {"median": 100.0}
            cue.update(severity="problem", difference=-90.0, ratio=2.0, stored_px=[128, 128], **sides)
    said = [f["sentence"] for f in list_findings({"glioma": small, "notumor": copy.deepcopy(small)}, None)]
    (sentence,) = (each for each in said if "Stored at" in each)
    assert "2 times (glioma) and 2 times (notumor): median variance of the Laplacian 90 against 180" in sentence
    assert sentence.endswith("enlarged alike have a median of 100 (glioma) and 100 (notumor).")


def test_checks_that_were_not_made_are_not_spoken_of(mirrored_class: dict) -> None:
    assert list_findings({}, None) == []
    assert {f["check"] for f in list_findings({"glioma": {"memorisation": mirrored_class["memorisation"]}}, None)} == {
        "memorisation"
    }


def test_usefulness_is_a_problem_where_the_loss_is_beyond_chance() -> None:
    side = {"accuracy": 0.7, "interval": [0.66, 0.74], "n_train": 2400, "n_test": 1024}
    real = side | {"accuracy": 0.95, "interval": [0.94, 0.96]}
    summary = {"synthetic": side, "real": real, "difference": {"accuracy": 0.25, "interval": [0.22, 0.28]}}
    (finding,) = list_findings({}, summary)
    assert finding["severity"] == "problem"
    assert "70 % of 1,024 real images" in finding["sentence"]
    assert "25.0 percentage points (22.0 to 28.0)" in finding["sentence"]
    (finding,) = list_findings({}, summary | {"difference": {"accuracy": 0.01, "interval": [-0.02, 0.04]}})
    assert finding["severity"] == "fine"
    (finding,) = list_findings({}, {"synthetic": side, "real": None, "difference": None})
    assert finding["sentence"].endswith("66 % to 74 %).")


def planes_of(n_axial: int, n: int, of_reference: float) -> dict:
    """Diversity of a class whose synthetic images are axial or coronal."""
    shares = {"axial": n_axial / n, "coronal": 1 - n_axial / n, "sagittal": 0.0}
    numbers = {"axial": n_axial, "coronal": n - n_axial, "sagittal": 0}
    reference = {"axial": of_reference, "coronal": 1 - of_reference, "sagittal": 0.0}
    planes = {"synthetic": shares, "reference": reference, "n_synthetic": numbers, "accuracy": None}
    return {"duplicates": {"n": n, "n_surplus": 0}, "planes": planes, "coverage": None}


@pytest.mark.parametrize(
    ("n_axial", "n", "of_reference", "severity"),
    [
        pytest.param(23, 600, 0.31, "problem", id="the study's pituitary"),
        pytest.param(60, 600, 0.31, "notice", id="a third, of many"),
        pytest.param(2, 20, 0.31, None, id="a third, of few: the interval goes to 30 %"),
        pytest.param(0, 8, 0.31, None, id="none of eight: the interval goes to 32 %"),
        pytest.param(0, 30, 0.31, "notice", id="none of thirty: the interval goes to 11 %"),
        pytest.param(0, 60, 0.31, "problem", id="none of sixty: the interval goes to 6 %"),
        pytest.param(0, 600, 0.09, None, id="a plane that the reference hardly has"),
    ],
)
def test_a_plane_is_wanting_where_chance_does_not_explain_it(
    n_axial: int, n: int, of_reference: float, severity: str | None
) -> None:
    found = list_findings({"pituitary": {"diversity": planes_of(n_axial, n, of_reference)}}, None)
    assert [f["severity"] for f in found if "Axial" in f["sentence"]] == ([severity] if severity else [])


def test_sets_drawn_as_the_reference_is_are_not_accused_of_a_plane() -> None:
    # 500 sets of 20 images, of which 31 % are axial on average; bare shares would accuse one in eleven.
    drawn = np.random.default_rng(0).binomial(20, 0.31, 500)
    counts = Counter(int(n) for n in drawn)
    accused = sum(
        times
        for n, times in counts.items()
        if any("Axial" in f["sentence"] for f in list_findings({"glioma": {"diversity": planes_of(n, 20, 0.31)}}, None))
    )
    assert accused / 500 < 0.01


@pytest.mark.parametrize(("n", "said"), [(49, False), (50, True)])
def test_coverages_of_few_images_are_not_compared(n: int, said: bool) -> None:
    coverage = {"synthetic_of_as_many": 0.4, "baseline": 0.6, "n_baseline": n, "k": 5}
    diversity = {"duplicates": {"n": n, "n_surplus": 0}, "planes": None, "coverage": coverage}
    found = list_findings({"glioma": {"diversity": diversity}}, None)
    assert any("less varied" in f["sentence"] for f in found) is said
    nearly = {**diversity, "coverage": {**coverage, "synthetic_of_as_many": 0.5}}
    assert len(list_findings({"glioma": {"diversity": nearly}}, None)) == 1


def test_words() -> None:
    assert name_classes(["a", "b", "c", "d"], ["a", "b", "c", "d"]) == "All four classes"
    assert name_classes(["a"], ["a", "b"]) == "The class a"
    assert [percent(share) for share in (0, 0.003, 0.5, 0.997, 1)] == ["0 %", "0.3 %", "50 %", "99.7 %", "100 %"]
