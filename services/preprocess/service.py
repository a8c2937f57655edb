"""Start and run preprocessing: check the request, load images, call the science, store the results."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import cv2

from services.preprocess.analysis import Measurement, measure
from services.preprocess.figures import draw_counts, draw_examples, draw_sizes
from services.preprocess.pipeline import encode_image, prepare_pixels
from services.preprocess.reading import READING_ERRORS, GrayImage, read_gray
from services.preprocess.recipe import Recipe
from services.preprocess.report import build_report, write_page, write_table
from services.preprocess.selection import Drop, name_results, passes_size_rule, select_drops
from services.preprocess.settings import get_preprocess_settings
from shared.artifacts.store import Artifact, DraftArtifact, get_artifacts
from shared.errors import InvalidInput
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.settings import get_settings


class NotARawSet(InvalidInput):
    """Preprocessing starts from an uploaded set."""


class EmptyImageSet(InvalidInput):
    """The set has no image."""


class TooManyUnreadable(InvalidInput):
    """More files than allowed could not be read."""


class NoImagesLeft(InvalidInput):
    """The recipe drops every image."""


def start_preprocessing(caller: Caller, request: dict[str, Any]) -> Accepted:
    """Submit the job, one shard for each few hundred images.

    Raises:
        ImageSetNotFound: no such set, or not the caller's.
        NotARawSet: the set was preprocessed or generated already.
        EmptyImageSet: the set has no image.
        InvalidRecipe: the recipe cannot be followed.
    """
    artifacts = get_artifacts()
    raw = artifacts.get(request["image_set"], caller.owner, "image_set")
    if raw.kind != "raw":
        raise NotARawSet(
            f"The image set {raw.id} is {raw.kind}; preprocessing starts from a raw set, one that was uploaded."
        )
    n_images = len(artifacts.manifest(raw)["images"])
    if n_images == 0:
        raise EmptyImageSet(f"The image set {raw.id} has no image: upload some first.")
    request = {**request, "recipe": Recipe.parse(request["recipe"]).model_dump()}
    size = get_preprocess_settings().shard_size
    shards = [{"start": start, "stop": min(start + size, n_images)} for start in range(0, n_images, size)]
    return submit(caller, "preprocess", request, shards=shards, total=n_images, unit="image")


def prepare_shard(execution: Execution) -> dict[str, Any]:
    """Read, measure, prepare and store one shard's images; the facts of each, and the files that cannot be read."""
    raw, recipe = _raw_set(execution), Recipe.parse(execution.request["recipe"])
    images = execution.artifacts.manifest(raw)["images"][execution.spec["start"] : execution.spec["stop"]]
    cv2.setNumThreads(1)  # the pool below is the parallelism; OpenCV's own threads would only compete with it
    prepared: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    pool = ThreadPoolExecutor(get_preprocess_settings().threads)
    try:
        for done, result in enumerate(pool.map(lambda image: _prepare_one(execution, image, recipe), images), start=1):
            (unreadable if "reason" in result else prepared).append(result)
            execution.progress.update(done, len(images))
            execution.progress.raise_if_cancelled()
    finally:
        pool.shutdown(cancel_futures=True)
    return {"images": prepared, "unreadable": unreadable}


def _prepare_one(execution: Execution, image: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    try:
        gray = _read(execution.objects.get_blob(image["sha256"]))
    except READING_ERRORS as error:
        return asdict(Drop(image["name"], error.code, error.detail))
    measurement = measure(gray, image["name"], image.get("split"), image.get("class"))
    facts: dict[str, Any] = {"measurement": measurement.record(), "sha256": None}
    if passes_size_rule(measurement.width, measurement.height, measurement.tumour_class, recipe):
        result = prepare_pixels(gray.pixels_u8, recipe)
        facts["sha256"] = execution.objects.put_blob(encode_image(result.pixels_u8, recipe))
        facts["parameters"] = {**result.parameters, "file": gray.facts.record()}
    return facts


def finish_preprocessing(execution: Execution) -> list[DraftArtifact]:
    """The preprocessed set and its analysis report, from the facts that the shards left.

    Raises:
        TooManyUnreadable: above the share that the request allows.
        NoImagesLeft: the recipe drops every image.
    """
    raw, recipe = _raw_set(execution), Recipe.parse(execution.request["recipe"])
    facts = [image for result in execution.results for image in result["images"]]
    unreadable = [Drop(**drop) for result in execution.results for drop in result["unreadable"]]
    _check_share(unreadable, len(facts) + len(unreadable), execution.request["max_unreadable_share"])
    measured = [Measurement(**image["measurement"]) for image in facts]
    drops = select_drops(measured, recipe)
    kept = _kept_images(execution.artifacts.manifest(raw)["images"], facts, {drop.name for drop in drops}, recipe)
    if not kept:
        raise NoImagesLeft(
            "The recipe drops every image of this set; `size_rule: pad_square` keeps those that are not square."
        )
    report = build_report(measured, drops, unreadable, recipe)
    name = execution.request.get("name") or f"{raw.name}, {recipe.name}"
    return [
        _set_draft(raw, name, kept, report),
        _report_draft(execution, raw, name, kept, measured, drops, unreadable, report),
    ]


def _check_share(unreadable: Sequence[Drop], n_images: int, allowed: float) -> None:
    if len(unreadable) <= allowed * n_images:
        return
    first = "; ".join(f"{drop.name}: {drop.detail}" for drop in unreadable[:3])
    raise TooManyUnreadable(
        f"{len(unreadable)} of {n_images} files could not be read, above the allowed share of {allowed:g}. "
        f"First: {first}",
        unreadable=[asdict(drop) for drop in unreadable[:100]],
    )


def _kept_images(
    raw_images: Sequence[dict[str, Any]], facts: Sequence[dict[str, Any]], dropped: set[str], recipe: Recipe
) -> list[dict[str, Any]]:
    by_name = {image["measurement"]["name"]: image for image in facts}
    kept = [image for image in raw_images if image["name"] in by_name and image["name"] not in dropped]
    names = name_results([image["name"] for image in kept], recipe.extension)
    return [
        {
            "name": names[image["name"]],
            "class": image.get("class"),
            "split": image.get("split"),
            "plane": image.get("plane"),
            "sha256": by_name[image["name"]]["sha256"],
            "width": recipe.size_px,
            "height": recipe.size_px,
            "source": image["name"],
            "parameters": by_name[image["name"]]["parameters"],
        }
        for image in kept
    ]


def _set_draft(raw: Artifact, name: str, kept: list[dict[str, Any]], report: dict[str, Any]) -> DraftArtifact:
    recipe = report["recipe"]
    summary = {"n_images": len(kept), "counts": report["kept"], "recipe": recipe["name"], "size_px": recipe["size_px"]}
    return DraftArtifact(
        noun="image_set",
        kind="preprocessed",
        name=name,
        body={"images": kept, "recipe": recipe},
        summary=summary,
        parents=[raw.id],
    )


def _report_draft(
    execution: Execution,
    raw: Artifact,
    name: str,
    kept: list[dict[str, Any]],
    measured: list[Measurement],
    drops: list[Drop],
    unreadable: list[Drop],
    report: dict[str, Any],
) -> DraftArtifact:
    title = f"Analysis of {name}"
    figures = {
        "chart.png": draw_counts(report["counts"], report["kept"]),
        "sizes.png": draw_sizes(measured),
        "examples.png": _draw_examples(execution, kept),
    }
    files = {
        **figures,
        "table.csv": write_table(measured, drops, unreadable),
        "report.html": write_page(report, title, figures),
    }
    return DraftArtifact(
        noun="report",
        kind="analysis",
        name=title,
        body={"report": report, "objects": {file: execution.objects.put_blob(data) for file, data in files.items()}},
        summary={key: report[key] for key in ("n_images", "n_kept", "n_dropped", "drop_reasons", "warnings")},
        parents=[raw.id],
    )


def _draw_examples(execution: Execution, kept: Sequence[dict[str, Any]]) -> bytes:
    raw_sha = {image["name"]: image["sha256"] for image in execution.artifacts.manifest(_raw_set(execution))["images"]}
    first: dict[str, dict[str, Any]] = {}
    for image in kept:
        first.setdefault(image["class"] or "unknown", image)
    pairs = {}
    for tumour_class, image in sorted(first.items()):
        before = _read(execution.objects.get_blob(raw_sha[image["source"]]))
        after = _read(execution.objects.get_blob(image["sha256"]))
        pairs[tumour_class] = (before.pixels_u8, after.pixels_u8)
    return draw_examples(pairs)


def _read(data: bytes) -> GrayImage:
    settings = get_settings()
    return read_gray(data, max_pixels=settings.image_max_pixels, min_side_px=settings.image_min_side_px)


def _raw_set(execution: Execution) -> Artifact:
    return execution.artifacts.get(execution.request["image_set"], execution.owner, "image_set")
