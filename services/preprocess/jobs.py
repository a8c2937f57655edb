"""The work of a preprocessing job, stage by stage: measure every image, select, prepare those that stay, illustrate.

    measure (many shards) -> select (one) -> prepare (many) -> illustrate (two) -> finish

A shard leaves its findings in a blob and only that blob's hash in its row.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from services.preprocess.analysis import Measurement, measure
from services.preprocess.draws import Draw
from services.preprocess.duplicates import HashedImage, find_copies
from services.preprocess.features import FeatureTable, ImageFeatures, describe, pack, unpack
from services.preprocess.illustrations import illustrate_shard, names_for_levels
from services.preprocess.near_duplicates import NearPair, find_near_pairs
from services.preprocess.plan import Plan, Planned, follow_record, make_plan, references_for
from services.preprocess.planes import PlaneResult, assign_planes
from services.preprocess.preparation import prepare_shard
from services.preprocess.reading import READING_ERRORS
from services.preprocess.recipe import Recipe
from services.preprocess.selection import Drop, pairs_that_count, refuse_conflicts, search_rule
from services.preprocess.service import ILLUSTRATE, MEASURE, PREPARE, SELECT
from services.preprocess.sources import get_json, put_json, raw_images, read_blob
from services.preprocess.threads import in_threads
from shared.artifacts.volumes import volume_of
from shared.errors import InvalidInput
from shared.jobs.runner import Execution

FROM_FILE = "file"
"""The `plane_source` of an image whose file said in which plane it lies."""


class TooManyUnreadable(InvalidInput):
    """More files than allowed could not be read."""


class NoImagesLeft(InvalidInput):
    """The recipe drops every image."""


def run_stage(execution: Execution) -> dict[str, Any]:
    """One shard of whichever stage it belongs to."""
    stages = {MEASURE: measure_shard, SELECT: select_shard, PREPARE: prepare_shard, ILLUSTRATE: illustrate_shard}
    return stages[execution.spec["stage"]](execution)


def measure_shard(execution: Execution) -> dict[str, Any]:
    """Read and measure one shard's images; their facts and features, and the files that cannot be read."""
    images = raw_images(execution)[execution.spec["start"] : execution.spec["stop"]]
    measured: list[dict[str, Any]] = []
    features: list[ImageFeatures] = []
    unreadable: list[dict[str, str]] = []
    results = in_threads(
        execution, [[image] for image in images], lambda batch: [_measure_one(execution, *batch)], len(images)
    )
    for image, result in zip(images, results, strict=True):
        if isinstance(result, Drop):
            unreadable.append(asdict(result))
            continue
        measurement, found, facts = result
        measured.append({"measurement": measurement.record(), "sha256": image["sha256"], "file": facts})
        features.append(found)
    return {
        "measured": put_json(execution, {"images": measured, "unreadable": unreadable}),
        "features": execution.objects.put_blob(pack(features)),
    }


def _measure_one(
    execution: Execution, image: dict[str, Any]
) -> tuple[Measurement, ImageFeatures, dict[str, Any]] | Drop:
    try:
        gray = read_blob(execution, image["sha256"])
    except READING_ERRORS as error:
        return Drop(image["name"], error.code, error.detail)
    measurement = measure(gray, image["name"], image.get("split"), image.get("class"))
    return measurement, describe(gray.pixels_u8), gray.facts.record()


def select_shard(execution: Execution) -> dict[str, Any]:
    """Look at the whole set: copies, planes, and the plan of what is done to which image.

    Raises:
        TooManyUnreadable: above the share that the request allows.
        LabelConflict: equal images bear different classes, and the recipe refuses that.
        NoImagesLeft: the recipe drops every image.
    """
    request, recipe = execution.request, Recipe.parse(execution.request["recipe"])
    parts = [get_json(execution, result["measured"]) for result in execution.results]
    unreadable = [drop for part in parts for drop in part["unreadable"]]
    measured = [Measurement(**image["measurement"]) for part in parts for image in part["images"]]
    _check_share(unreadable, len(measured) + len(unreadable), request["max_unreadable_share"])
    with tempfile.TemporaryDirectory(prefix="synthmri-select-") as folder:
        blobs = (execution.objects.get_blob(result["features"]) for result in execution.results)
        table = unpack(blobs, len(measured), Path(folder))
        execution.progress.raise_if_cancelled()
        images, planes = _annotate(execution, measured, table, recipe)
        execution.progress.raise_if_cancelled()
        hashed = [image.hashed() for image in images]
        pairs = _find_pairs(execution, hashed, table, recipe)
    copies = find_copies(hashed, pairs_that_count(pairs, recipe.near_duplicates))
    if recorded := request.get("recorded"):
        draws = {name: Draw(**draw) for name, draw in get_json(execution, recorded).items()}
        plan = follow_record(images, draws)
        if request["replay"] is None:
            refuse_conflicts(copies, recipe, among={planned.image.name for planned in plan.kept})
    else:
        plan = make_plan(images, copies, recipe, request["exclude"])
    if not plan.kept:
        raise NoImagesLeft(
            "The recipe drops every image of this set: the reasons are the size rule, duplicates or the selection. "
            "`size_rule: pad_square` keeps images that are not square."
        )
    histograms = dict(zip((image.name for image in images), table.histograms, strict=True))
    seen = [(planned.image.name, planned.image.tumour_class, planned.image.split) for planned in plan.kept]
    shown = [name for names in names_for_levels(seen, recipe.seed).values() for name in names]
    facts = {image["measurement"]["name"]: image for part in parts for image in part["images"]}
    kept = [_kept_record(planned, facts[planned.image.name]) for planned in plan.kept]
    resolved = _with_references(recipe, plan, histograms)
    findings = {
        "images": [image.record() for image in images],
        "drops": [asdict(drop) for drop in plan.drops],
        "unreadable": unreadable,
        "pairs": [vars(pair) for pair in pairs],
        "planes": _plane_record(planes) if planes else None,
    }
    return {
        "plan": put_json(execution, {"recipe": resolved.model_dump(mode="json"), "kept": kept}),
        "findings": put_json(execution, findings),
        "levels": put_json(execution, {name: histograms[name].tolist() for name in shown}),
    }


def _find_pairs(
    execution: Execution, images: Sequence[HashedImage], table: FeatureTable, recipe: Recipe
) -> list[NearPair]:
    """Near-duplicates among one image of each hash, by the more lenient of the recipe's rule and the default one."""
    first: dict[str, int] = {}
    for k, image in enumerate(images):
        first.setdefault(image.pixel_hash, k)
    positions = list(first.values())
    rule = search_rule(recipe.near_duplicates)
    volumes = [image.volume for image in images]
    return find_near_pairs(
        table.thumbnails_u8,
        rule.correlation,
        mirrored=rule.mirrored,
        among=positions,
        volumes=volumes,
        check=execution.progress.raise_if_cancelled,
    )


def _kept_record(planned: Planned, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": planned.image.name,
        "class": planned.image.tumour_class,
        "sha256": facts["sha256"],
        "file": facts["file"],
        "draw": planned.draw.record(),
    }


def _plane_record(planes: PlaneResult) -> dict[str, Any]:
    """How the planes were found, without the planes themselves."""
    return {
        "features": planes.features,
        "named_by": planes.named_by,
        "n_noise": planes.n_noise,
        "clusters": [asdict(cluster) for cluster in planes.clusters],
    }


def _with_references(recipe: Recipe, plan: Plan, histograms: dict[str, Any]) -> Recipe:
    """The recipe with the references for histogram matching, which a replayed recipe has already."""
    matching = recipe.histogram_matching
    if matching is None or matching.references is not None:
        return recipe
    references = references_for(plan, histograms, recipe)
    return recipe.model_copy(update={"histogram_matching": matching.model_copy(update={"references": references})})


def _annotate(
    execution: Execution, measured: Sequence[Measurement], table: FeatureTable, recipe: Recipe
) -> tuple[list[Measurement], PlaneResult | None]:
    """The measurements with what people said of the images (class, plane, group) and the planes that were found."""
    said = {image["name"]: image for image in raw_images(execution)}
    relabel = execution.request["relabel"]
    images = [
        replace(
            image,
            tumour_class=relabel.get(image.name, image.tumour_class),
            plane=said[image.name].get("plane"),
            plane_source=said[image.name].get("plane_source") or (FROM_FILE if said[image.name].get("plane") else None),
            group=said[image.name].get("group"),
            volume=volume_of(said[image.name]),
        )
        for image in measured
    ]
    if not recipe.planes or not images:
        return images, None
    labels = {k: image.plane for k, image in enumerate(images) if image.plane is not None}
    result = assign_planes(table.planes, labels)
    named = [
        replace(
            image,
            plane=found.plane,
            plane_confidence=None if found.how == "label" else round(found.confidence, 4),
            plane_source=image.plane_source if found.how == "label" else found.how,
        )
        for image, found in zip(images, result.assignments, strict=True)
    ]
    return named, result


def _check_share(unreadable: Sequence[dict[str, str]], n_images: int, allowed: float) -> None:
    if len(unreadable) <= allowed * n_images:
        return
    first = "; ".join(f"{drop['name']}: {drop['detail']}" for drop in unreadable[:3])
    raise TooManyUnreadable(
        f"{len(unreadable)} of {n_images} files could not be read, above the allowed share of {allowed:g}. "
        f"First: {first}",
        unreadable=unreadable[:100],
    )
