"""The last step of a preprocessing job: the prepared set, and the report on what was found."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.preprocess.analysis import UNKNOWN, Measurement, count_by_class
from services.preprocess.draws import draw_subset
from services.preprocess.duplicates import Copies, find_copies, find_label_conflicts, find_leaks
from services.preprocess.figures import draw_figures
from services.preprocess.findings import Example, Findings, MatchPicture, Pictures
from services.preprocess.intensity import count_levels
from services.preprocess.near_duplicates import NearPair
from services.preprocess.recipe import Recipe
from services.preprocess.report import build_report, write_page, write_table
from services.preprocess.result_names import name_results
from services.preprocess.selection import Drop
from services.preprocess.sources import get_json, get_result, raw_set, read_blob
from shared.artifacts.store import Artifact, DraftArtifact
from shared.errors import InvalidInput
from shared.jobs.runner import Execution
from shared.tumour import Split

_N_LEVELS = 100
_N_LEAKS = 10
_N_CONFLICTS = 6
_SUMMARY = ("n_images", "n_kept", "n_dropped", "drop_reasons", "warnings")


class NoImagesLeft(InvalidInput):
    """The recipe drops every image."""


def finish_preprocessing(execution: Execution) -> list[DraftArtifact]:
    """The prepared set and its analysis report, from what the shards left.

    Raises:
        NoImagesLeft: the recipe drops every image.
    """
    raw = raw_set(execution)
    plan, found = get_result(execution, "plan"), get_result(execution, "findings")
    if not plan["kept"]:
        raise NoImagesLeft(
            "The recipe drops every image of this set: the reasons are the size rule, duplicates or the selection. "
            "`size_rule: pad_square` keeps images that are not square."
        )
    prepared = {
        image["source"]: image
        for result in execution.results
        if "prepared" in result
        for image in get_json(execution, result["prepared"])
    }
    findings = _read_findings(execution, raw, plan, found)
    images = _set_images(findings, prepared)
    report = build_report(findings)
    name = execution.request.get("name") or f"{raw.name}, {findings.recipe.name}"
    title = f"Analysis of {name}"
    figures = draw_figures(findings, report, _gather_pictures(execution, raw, findings, images))
    files = {
        **figures,
        "table.csv": write_table(findings),
        "report.html": write_page(report, title, {k: v for k, v in figures.items() if k.endswith(".png")}),
    }
    objects = {file: execution.objects.put_blob(data) for file, data in files.items()}
    return [
        _set_draft(raw, name, images, findings),
        DraftArtifact(
            noun="report",
            kind="analysis",
            name=title,
            body={"report": report, "objects": objects},
            summary={key: report[key] for key in _SUMMARY},
            parents=[raw.id],
        ),
    ]


def _read_findings(execution: Execution, raw: Artifact, plan: dict[str, Any], found: dict[str, Any]) -> Findings:
    images = [Measurement(**image) for image in found["images"]]
    pairs = [NearPair(**pair) for pair in found["pairs"]]
    copies = find_copies([image.hashed() for image in images], pairs)
    kept = [image["name"] for image in plan["kept"]]
    manifest = execution.artifacts.manifest(raw)
    skipped = manifest.get("skipped") or []
    return Findings(
        images=images,
        kept=kept,
        drops=[Drop(**drop) for drop in found["drops"]],
        unreadable=[Drop(**drop) for drop in found["unreadable"]],
        skipped=[Drop(file["name"], file["code"], file["detail"]) for file in skipped],
        upload_warnings=[warning["detail"] for warning in manifest.get("warnings") or []],
        pairs=pairs,
        copies=copies,
        leaks=find_leaks(copies),
        kept_leaks=find_leaks(copies, set(kept)),
        planes=found["planes"],
        recipe=Recipe.parse(plan["recipe"]),
    )


def _set_images(findings: Findings, prepared: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The images of the result, in the order of the plan, as manifests hold them."""
    by_name = {image.name: image for image in findings.images}
    folders = {name: by_name[name].tumour_class for name in findings.kept}
    moved = {name: c for name, c in folders.items() if c and f"/{c}/" not in f"/{name}"}
    names = name_results(findings.kept, findings.recipe.extension, moved)
    size_px = findings.recipe.size_px
    return [
        {
            "name": names[source],
            "class": by_name[source].tumour_class,
            "split": by_name[source].split,
            "plane": by_name[source].plane,
            "plane_confidence": by_name[source].plane_confidence,
            "plane_source": by_name[source].plane_source,
            "group": by_name[source].group,
            "sha256": prepared[source]["sha256"],
            "width": size_px,
            "height": size_px,
            "source": source,
            "parameters": prepared[source]["parameters"],
        }
        for source in findings.kept
    ]


def _set_draft(raw: Artifact, name: str, images: list[dict[str, Any]], findings: Findings) -> DraftArtifact:
    recipe = findings.recipe.model_dump(mode="json")
    counts = count_by_class((image["split"], image["class"]) for image in images)
    leakage = _leakage(findings)
    return DraftArtifact(
        noun="image_set",
        kind="preprocessed",
        name=name,
        body={"images": images, "recipe": recipe, "leakage": leakage},
        summary={
            "n_images": len(images),
            "counts": counts,
            "recipe": recipe["name"],
            "size_px": recipe["size_px"],
            "n_leaks": leakage["kept"],
        },
        parents=[raw.id],
    )


def _leakage(findings: Findings) -> dict[str, Any]:
    """What `shared.artifacts.leakage` reads before anything is trained on the set."""
    exact = {leak.testing for leak in findings.kept_leaks if leak.exact}
    near = {leak.testing for leak in findings.kept_leaks} - exact
    kept = set(findings.kept)
    images = [image for image in findings.images if image.name in kept and image.group]
    groups = {image.group for image in images if image.split == Split.TRAINING}
    grouped = {image.name for image in images if image.split == Split.TESTING and image.group in groups}
    crossing = {image.group for image in images if image.split == Split.TESTING} & groups
    return {
        "checked": True,
        "exact": len(exact),
        "near": len(near),
        "groups": len(crossing),
        "kept": len(exact | near | grouped),
        "waiver": findings.recipe.leakage_waiver,
    }


def _gather_pictures(
    execution: Execution, raw: Artifact, findings: Findings, images: Sequence[dict[str, Any]]
) -> Pictures:
    """The few images that the figures show."""
    sha256 = {image["name"]: image["sha256"] for image in execution.artifacts.manifest(raw)["images"]}

    def pixels(name: str) -> NDArray[np.uint8]:
        return read_blob(execution, sha256[name]).pixels_u8

    training = [image for image in images if image["split"] != Split.TESTING]
    before: dict[str, NDArray[np.integer]] = {}
    after: dict[str, NDArray[np.integer]] = {}
    for tumour_class in sorted({image["class"] or UNKNOWN for image in training}):
        members = {image["source"]: image for image in training if (image["class"] or UNKNOWN) == tumour_class}
        drawn = sorted(draw_subset(list(members), _N_LEVELS, findings.recipe.seed, "levels"))
        before[tumour_class] = np.stack([count_levels(pixels(name)) for name in drawn])
        after[tumour_class] = np.stack(
            [count_levels(read_blob(execution, members[name]["sha256"]).pixels_u8) for name in drawn]
        )
        execution.progress.raise_if_cancelled()
    leaks = [
        MatchPicture(
            f"{leak.testing} | {leak.training}",
            pixels(leak.testing),
            pixels(leak.training),
            leak.mirror,
        )
        for leak in _spread(sorted(findings.leaks, key=lambda leak: (leak.mirror, -(leak.correlation or 0))), _N_LEAKS)
    ]
    return Pictures(_examples(execution, images, pixels), leaks, _conflicts(findings.copies, pixels), before, after)


def _spread(items: Sequence[Any], n: int) -> list[Any]:
    """Up to `n` of the items, evenly from first to last."""
    n = min(n, len(items))
    return [items[index * (len(items) - 1) // max(n - 1, 1)] for index in range(n)]


def _examples(execution: Execution, images: Sequence[dict[str, Any]], pixels: Any) -> list[Example]:
    """The most surely recognised image of each class and plane."""
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for image in images:
        key = (image["class"] or UNKNOWN, image["plane"] or UNKNOWN)
        if key not in chosen or (image["plane_confidence"] or 0) > (chosen[key]["plane_confidence"] or 0):
            chosen[key] = image
    return [
        Example(
            name=image["source"],
            tumour_class=tumour_class,
            plane=image["plane"],
            raw_u8=pixels(image["source"]),
            prepared_u8=read_blob(execution, image["sha256"]).pixels_u8,
            parameters=image["parameters"],
        )
        for (tumour_class, _), image in sorted(chosen.items())
    ]


def _conflicts(copies: Copies, pixels: Any) -> list[MatchPicture]:
    """Copies with different classes, two of each group."""
    shown = []
    positions = {image.name: k for k, image in enumerate(copies.images)}
    for names in find_label_conflicts(copies, exact=False)[:_N_CONFLICTS]:
        first = names[0]
        other = next(
            name
            for name in names
            if copies.images[positions[name]].tumour_class != copies.images[positions[first]].tumour_class
        )
        both = {positions[first], positions[other]}
        mirror = next((pair.mirror for pair in copies.pairs if {pair.first, pair.second} == both), "none")
        shown.append(MatchPicture(f"{first} | {other}", pixels(first), pixels(other), mirror))
    return shown
