"""Copies in numbers: how many there are within a split, how many leak into Testing, and which bear two classes."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from services.preprocess.analysis import UNKNOWN
from services.preprocess.duplicates import (
    Copies,
    Leak,
    find_copies,
    find_crossing_patients,
    find_label_conflicts,
    find_leaks,
)
from services.preprocess.findings import Findings
from services.preprocess.selection import search_rule


def summarise_copies(findings: Findings) -> dict[str, Any]:
    """Copies within each split, copies of two classes, and leaks of the whole set and of the images kept, as JSON."""
    copies = findings.copies
    rule = search_rule(findings.recipe.near_duplicates)
    kept_leaks = {leak.testing for leak in findings.kept_leaks}
    return {
        "by_split": _count_groups(copies, exact=True),
        "near": {
            "correlation": rule.correlation,
            "mirrored": rule.mirrored,
            "by_split": _count_groups(copies, exact=False),
        },
        "label_conflicts": _list_conflicts(copies),
        "leaks": {
            "all": _count_leaks(findings.leaks, copies),
            "kept": _count_leaks(findings.kept_leaks, copies, set(findings.kept)),
            "pairs": [asdict(leak) | {"kept": leak.testing in kept_leaks} for leak in findings.leaks],
        },
    }


def summarise_groups(findings: Findings) -> dict[str, Any]:
    """How many groups (patients) are named, and which have images in both splits, of all images and of those kept."""
    return {
        "n": len({image.group for image in findings.images if image.group}),
        "crossing": _list_crossing(findings.copies),
        "crossing_kept": _list_crossing(findings.copies, set(findings.kept)),
    }


def number_copies(copies: Copies) -> dict[str, int]:
    """For images that have a copy, by name: the number of their group, from 1 in the order of the set."""
    sizes = Counter(int(group) for group in copies.group)
    numbers: dict[int, int] = {}
    return {
        image.name: numbers.setdefault(int(group), len(numbers) + 1)
        for image, group in zip(copies.images, copies.group, strict=True)
        if sizes[int(group)] > 1
    }


def _list_crossing(copies: Copies, among: Collection[str] | None = None) -> list[str]:
    return sorted({patient for crossing in find_crossing_patients(copies, among).values() for patient in crossing})


def _count_groups(copies: Copies, *, exact: bool) -> dict[str, dict[str, int]]:
    """By split, groups of two or more images of it, and the images beyond the first of each."""
    sizes: dict[str, Counter[int]] = defaultdict(Counter)
    for image, number in zip(copies.images, copies.exact if exact else copies.group, strict=True):
        sizes[image.split or UNKNOWN][int(number)] += 1
    counts = {split: [n for n in found.values() if n > 1] for split, found in sorted(sizes.items(), reverse=True)}
    return {split: {"groups": len(found), "surplus": sum(found) - len(found)} for split, found in counts.items()}


def _list_conflicts(copies: Copies) -> dict[str, list[list[str]]]:
    """Names of copies of different classes: of equal pixels, and the other groups, which near-duplicates make."""
    exact = find_label_conflicts(copies, exact=True)
    near = [names for names in find_label_conflicts(copies, exact=False) if names not in exact]
    return {"exact": exact, "near": near}


def _count_leaks(leaks: Sequence[Leak], copies: Copies, among: Collection[str] | None = None) -> dict[str, Any]:
    """How many leaks are exact and how many are not, how many of these only mirroring reveals, and of which classes."""
    classes = {image.name: image.tumour_class or UNKNOWN for image in copies.images}
    n_exact = sum(leak.exact for leak in leaks)
    upright = find_copies(copies.images, [pair for pair in copies.pairs if pair.unturned is not None])
    seen = {leak.testing for leak in find_leaks(upright, among)}
    return {
        "exact": n_exact,
        "near": len(leaks) - n_exact,
        "mirrored": sum(leak.testing not in seen for leak in leaks),
        "total": len(leaks),
        "by_class": dict(sorted(Counter(classes[leak.testing] for leak in leaks).items())),
    }
