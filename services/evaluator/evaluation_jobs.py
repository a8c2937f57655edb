"""Start and run evaluations: check, load, call the science, store."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.evaluator.features.extraction import (
    FeatureExtractor,
    ImageFeatures,
    extract_features,
)
from services.evaluator.features.reading import SizePx, common_size, read_gray
from services.evaluator.features.spaces import OFFLINE, build_extractor, find_classifier, has_seen
from services.evaluator.metrics.assessment import Floor, Metric, assess
from services.evaluator.metrics.selection import (
    FloorPlan,
    Images,
    Selection,
    plan_floor,
    seen_warning,
    select_images,
    size_warnings,
)
from services.evaluator.reports.chart import draw_chart
from services.evaluator.reports.evaluation import feature_warnings, render_csv, render_html
from services.evaluator.weights import library as library_weights
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact, get_artifacts
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.objects import ObjectStore, get_objects


def start_evaluation(caller: Caller, request: dict[str, Any]) -> Accepted:
    """Submit the job once everything it needs is known to be there.

    Raises:
        ImageSetNotFound: no such set, or not the caller's.
        NoSuchImages: a set has no image of the class or split.
        TooFewImages: fewer than two images on a side.
        WeightsNotInstalled: features=inception without its weights.
        ModelNotFound: features=classifier without a classifier.
        NotAClassifier: `model` is of another kind.
    """
    artifacts = get_artifacts()
    selection = _select(artifacts, request, caller.owner)
    if request["features"] == "inception":
        library_weights.require_record(get_objects(), "inception", OFFLINE)
        request = {**request, "model": None}
    else:
        request = {**request, "model": find_classifier(artifacts, request["model"], caller.owner).id}
    return submit(caller, "evaluate", request, total=selection.n_images, unit="image")


def finish_evaluation(execution: Execution) -> list[DraftArtifact]:
    """The evaluation report: features of all images, scores, floor, table, chart and page."""
    request = execution.request
    selection = _select(execution.artifacts, request, execution.owner)
    extractor, space = build_extractor(execution)
    real_set = execution.artifacts.get(request["real"], execution.owner, "image_set")
    seen = has_seen(execution.artifacts, space["model"], real_set)
    plan = plan_floor(selection, request["split"], request["seed"], seen=seen)
    size_px, n_resized = common_size(_sizes(selection.real), _sizes([*selection.synthetic, *selection.other_real]))
    synthetic, real, other = _extract_all(execution, selection, extractor, size_px)
    entries = assess(
        synthetic,
        real,
        _floor(plan, real, other),
        metrics=[Metric(name) for name in request["metrics"]],
        feature_space=space["name"],
        seed=request["seed"],
        progress=execution.progress,
    )
    space["n_features"] = int(real.features.shape[1])
    sizes = (len(selection.synthetic), len(selection.real))
    warnings = [
        *feature_warnings(space["name"], space["n_features"], sizes, verified=space["verified"]),
        *([seen_warning(space["model"], plan)] if seen else []),
        *selection.warnings,
        *_kind_warnings(request, execution.artifacts.get(request["synthetic"], execution.owner, "image_set"), real_set),
        *size_warnings(selection, n_resized, size_px),
    ]
    report = {
        "synthetic": request["synthetic"],
        "real": request["real"],
        "class": selection.tumour_class,
        "split": request["split"],
        "n_synthetic": sizes[0],
        "n_real": sizes[1],
        "n_other_real": len(selection.other_real),
        "features": space,
        "floor": plan and {"what": plan.what, "n": [len(plan.first), len(plan.second)]},
        "size_px": list(size_px),
        "seed": request["seed"],
        "metrics": entries,
        "warnings": warnings,
    }
    return [_draft(execution, report)]


def _select(artifacts: ArtifactStore, request: dict[str, Any], owner: str) -> Selection:
    synthetic, real = (_images(artifacts, request[side], owner) for side in ("synthetic", "real"))
    return select_images(synthetic, real, tumour_class=request["class"], split=request["split"])


def _images(artifacts: ArtifactStore, set_id: str, owner: str) -> Images:
    images: Images = artifacts.manifest(artifacts.get(set_id, owner, "image_set"))["images"]
    return images


def _extract_all(
    execution: Execution, selection: Selection, extractor: FeatureExtractor, size_px: SizePx
) -> tuple[ImageFeatures, ImageFeatures, ImageFeatures | None]:
    """Features of the synthetic images, the real ones, and those of the other split, if there are any."""
    groups = [selection.synthetic, selection.real, selection.other_real]
    found: list[ImageFeatures] = []
    done = 0
    for group in filter(None, groups):
        images = _read_images(execution.objects, group, size_px)
        found.append(
            extract_features(extractor, images, progress=execution.progress, done_before=done, total=selection.n_images)
        )
        done += len(group)
    return found[0], found[1], found[2] if len(found) == 3 else None


def _read_images(objects: ObjectStore, images: Images, size_px: SizePx) -> Iterator[NDArray[np.uint8]]:
    """Each image as (height, width) uint8 in 0..255, read from the store when it is asked for."""
    for image in images:
        yield read_gray(objects.get_blob(image["sha256"]), image["name"], size_px)


def _sizes(images: Images) -> list[SizePx]:
    return [(image["width"], image["height"]) for image in images]


def _floor(plan: FloorPlan | None, real: ImageFeatures, other: ImageFeatures | None) -> Floor | None:
    """The features of the plan's images."""
    if plan is None:
        return None
    groups = [real] if other is None else [real, other]
    features = np.concatenate([group.features for group in groups])
    probabilities = np.concatenate([group.probabilities for group in groups])
    first, second = (ImageFeatures(features[rows], probabilities[rows]) for rows in (plan.first, plan.second))
    return Floor(first, second, plan.what)


def _kind_warnings(request: dict[str, Any], synthetic: Artifact, real: Artifact) -> list[str]:
    found = []
    if synthetic.kind != "synthetic":
        found.append(f"The set given as synthetic is {synthetic.kind}: these are uploaded images, not generated ones.")
    if real.kind == "synthetic":
        found.append("The set given as real is synthetic.")
    if request["synthetic"] == request["real"]:
        found.append("Both sides are the same image set.")
    return found


def _draft(execution: Execution, report: dict[str, Any]) -> DraftArtifact:
    chart = draw_chart(report)
    files = {"chart.png": chart, "table.csv": render_csv(report), "report.html": render_html(report, chart)}
    execution.progress.raise_if_cancelled()
    scores = {entry["metric"]: entry["value"] for entry in report["metrics"]}
    facts = {key: report[key] for key in ("n_synthetic", "n_real", "split")}
    parents = [report["synthetic"], report["real"], report["features"]["model"]]
    name = execution.request.get("name") or f"Evaluation of {report['class'] or 'all classes'}"
    return DraftArtifact(
        noun="report",
        kind="evaluation",
        name=name,
        body={
            "report": report,
            "objects": {file: execution.objects.put_blob(data) for file, data in files.items()},
            "seeds": [report["seed"]],
        },
        summary={**facts, "features": report["features"]["name"], "scores": scores},
        tumour_class=report["class"],
        parents=list(dict.fromkeys(parent for parent in parents if parent)),
    )
