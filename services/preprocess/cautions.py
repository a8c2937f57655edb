"""What may mislead whoever trains or tests on a set, in sentences."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from services.preprocess.analysis import (
    BLUR_VARIANCE,
    LEAST_CONFIDENCE,
    UNKNOWN,
    Counts,
    commonest_size,
    is_unsure,
    share_by_class,
)
from services.preprocess.findings import Findings
from services.preprocess.recipe import Recipe
from shared.tumour import Split

_SIZE_SHARE_GAP = 0.5
_ABSENT, _PRESENT = 0.05, 0.2  # shares: a plane below the first is as good as missing, above the second it is there
_SHOWN = 5
_FEWEST_TESTED = 30  # the standard error of an accuracy of 0.9 is 0.055 then


def write_warnings(findings: Findings, report: Mapping[str, Any]) -> list[str]:
    """The sentences that apply, what matters most first.

    Args:
        findings: the facts.
        report: the report so far: duplicates, groups, colour, kept planes and so on.
    """
    return [
        *_warn_of_leaks(findings, report["duplicates"]["leaks"]),
        *_warn_of_thin_tests(findings, report),
        *_warn_of_conflicts(report["duplicates"]["label_conflicts"], findings.recipe),
        *_warn_of_groups(report["groups"]),
        *_warn_of_shortcuts(findings, report),
        *_warn_of_recipe(findings.recipe),
        *_warn_of_images(findings, report),
        *_warn_of_files(findings),
    ]


def _warn_of_leaks(findings: Findings, leaks: Mapping[str, Any]) -> list[str]:
    found, n_left = leaks["all"], leaks["kept"]["total"]
    if not found["total"]:
        return []
    n_testing = sum(image.split == Split.TESTING for image in findings.images)
    kinds = []
    if found["exact"]:
        kinds.append(f"{found['exact']:,} {_verb(found['exact'], 'has', 'have')} the same pixels as a Training image")
    if found["near"]:
        only = f", {found['mirrored']:,} of them only when mirrored" if found["mirrored"] else ""
        kinds.append(f"{found['near']:,} {_verb(found['near'], 'is', 'are')} near-duplicates of one{only}")
    if n_left:
        fate = f"{n_left:,} {_verb(n_left, 'is', 'are')} among the images kept and would flatter a classifier"
    elif findings.recipe.duplicates == "across_splits":
        side = "Testing" if findings.recipe.leaks == "testing" else "Training"
        fate = f"none is among the images kept, since this recipe sets the {side} side aside"
    else:
        fate = "none is among the images kept"
    return [
        f"{found['total']:,} of {_images(n_testing, 'Testing ')} {_verb(found['total'], 'shows', 'show')} a scan of "
        f"Training: {'; '.join(kinds)}. Of all these, {fate}."
    ]


def _warn_of_thin_tests(findings: Findings, report: Mapping[str, Any]) -> list[str]:
    """Classes of which setting leaks aside leaves too few Testing images to measure anything on."""
    before, after = report["counts"].get(Split.TESTING, {}), report["kept"].get(Split.TESTING, {})
    classes = {image.name: image.tumour_class or UNKNOWN for image in findings.images}
    reasons = ("in_training", "group_in_training")
    set_aside = {classes[drop.name] for drop in findings.drops if drop.reason in reasons}
    thin = [c for c in before if c in set_aside and after.get(c, 0) < _FEWEST_TESTED]
    if not thin:
        return []
    listed = ", ".join(f"{after.get(tumour_class, 0)} {tumour_class}" for tumour_class in thin)
    return [
        f"Setting leaks aside leaves too few Testing images to measure some classes: {listed}. `leaks: training` in "
        "the recipe keeps the Testing side and sets the Training images aside instead."
    ]


def _warn_of_conflicts(conflicts: Mapping[str, Sequence[Sequence[str]]], recipe: Recipe) -> list[str]:
    fate = "; this recipe keeps them" if recipe.label_conflicts == "keep" else ""
    texts = {"exact": "equal images", "near": "near-duplicates"}
    return [
        f"{_number(len(conflicts[key]), 'group')} of {text} {_verb(len(conflicts[key]), 'bears', 'bear')} different "
        f"classes{fate}: check their labels."
        for key, text in texts.items()
        if conflicts[key]
    ]


def _warn_of_groups(groups: Mapping[str, Any]) -> list[str]:
    if not groups["crossing"]:
        return []
    n, n_left = len(groups["crossing"]), len(groups["crossing_kept"])
    fate = f"{n_left} of them still {_verb(n_left, 'does', 'do')} so among the images kept" if n_left else (
        "none of them does so among the images kept"
    )  # fmt: skip
    return [f"{_number(n, 'group')} (patients) {_verb(n, 'has', 'have')} images in Training and in Testing; {fate}."]


def _warn_of_shortcuts(findings: Findings, report: Mapping[str, Any]) -> list[str]:
    """What tells classes apart without looking at a tumour: one native size, or a missing plane."""
    found = []
    labelled = [image for image in findings.images if image.tumour_class]
    size = commonest_size(labelled)
    shares = share_by_class(labelled, lambda image: (image.width, image.height) == size)
    if size and len(shares) > 1 and max(shares.values()) - min(shares.values()) >= _SIZE_SHARE_GAP:
        listed = ", ".join(f"{tumour_class} {100 * share:.0f} %" for tumour_class, share in shares.items())
        found.append(
            f"Native size tells classes apart: {size[0]} x {size[1]} is the size of {listed}; "
            "resizing leaves its traces."
        )
    training = report["kept_planes"].get(Split.TRAINING, report["kept_planes"].get(UNKNOWN, {}))
    for plane, (lacking, having) in _missing_planes(training).items():
        found.append(
            f"Training has next to no {plane} images of {', '.join(lacking)}, but has them of {', '.join(having)}: "
            "a classifier can tell these classes by the plane."
        )
    return found


def _missing_planes(counts: Counts) -> dict[str, tuple[list[str], list[str]]]:
    """By plane: the classes without it, and those with it, where there are both."""
    shares: dict[str, dict[str, float]] = defaultdict(dict)
    known = {name: {p: n for p, n in row.items() if p != UNKNOWN} for name, row in counts.items() if name != UNKNOWN}
    for plane in sorted({plane for row in known.values() for plane in row}):
        for tumour_class, row in known.items():
            if row:
                shares[plane][tumour_class] = row.get(plane, 0) / sum(row.values())
    sides = {
        plane: ([name for name, s in row.items() if s < _ABSENT], [name for name, s in row.items() if s >= _PRESENT])
        for plane, row in shares.items()
    }
    return {plane: side for plane, side in sides.items() if all(side)}


def _warn_of_recipe(recipe: Recipe) -> list[str]:
    found = []
    if recipe.histogram_matching and recipe.histogram_matching.reference == "by_class":
        found.append(
            "Histogram matching by class used the class of every image, Testing included, which flatters a classifier; "
            "an image to be classified has none and is matched to the pooled reference."
        )
    if recipe.leakage_waiver:
        found.append(f"The recipe lets models train on this set in spite of leakage: {recipe.leakage_waiver}")
    return found


def _warn_of_images(findings: Findings, report: Mapping[str, Any]) -> list[str]:
    found = []
    images = findings.images
    if n := sum(image.colour_strict for image in images):
        found.append(f"{_images(n)} {_verb(n, 'holds', 'hold')} colour and may be screenshots with annotations.")
    if n := sum(image.is_blurry for image in images):
        found.append(
            f"{_images(n)} ({100 * n / len(images):.0f} %) {_verb(n, 'has', 'have')} a Laplacian variance below "
            f"{BLUR_VARIANCE:g} and {_verb(n, 'counts', 'count')} as blurry."
        )
    if lettered := [image for image in images if image.n_letters]:
        shares = Counter(image.tumour_class or UNKNOWN for image in lettered)
        where = ", ".join(f"{tumour_class} {n}" for tumour_class, n in sorted(shares.items()))
        found.append(
            f"{_images(len(lettered))} {_verb(len(lettered), 'has', 'have')} text burned into the margin ({where}), "
            f"which may name a patient or tell a class: {_list([image.name for image in lettered])}."
        )
    if blank := report["constant_images"]:
        found.append(
            f"{_images(len(blank))} of one gray level {_verb(len(blank), 'shows', 'show')} no brain: {_list(blank)}."
        )
    if n := sum(is_unsure(image) for image in images):
        found.append(
            f"The plane of {_images(n)} has a confidence below {LEAST_CONFIDENCE:g}: look at it and correct it."
        )
    return found


def _warn_of_files(findings: Findings) -> list[str]:
    found = list(findings.upload_warnings)
    if n := len(findings.unreadable):
        found.append(
            f"{_number(n, 'file')} could not be read; the list of dropped images names {_verb(n, 'it', 'them')}."
        )
    if n := len(findings.skipped):
        found.append(
            f"{_number(n, 'file')} {_verb(n, 'was', 'were')} refused at the upload and {_verb(n, 'is', 'are')} listed."
        )
    return found


def _number(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _images(n: int, kind: str = "") -> str:
    return _number(n, f"{kind}image")


def _verb(n: int, one: str, many: str) -> str:
    return one if n == 1 else many


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
