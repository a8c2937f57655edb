"""Start and run evaluations: check, load, call the science, store."""

from dataclasses import dataclass
from typing import Any

from services.evaluator.features.cache import Measured, measure_images
from services.evaluator.features.extraction import FeatureExtractor
from services.evaluator.features.keras_inception import STUDY_READING
from services.evaluator.features.radiomics import FEATURE_NAMES, require_radiomics
from services.evaluator.features.reading import Reading, SizePx, common_size, require_contrast, require_one_size
from services.evaluator.features.spaces import (
    OFFLINE,
    build_extractor,
    build_study_extractor,
    find_classifier,
    has_seen,
)
from services.evaluator.metrics.assessment import Metric, measurable
from services.evaluator.metrics.floors import leaked_floor_cautions, seen_caution
from services.evaluator.metrics.scopes import Sides
from services.evaluator.metrics.selection import (
    Caution,
    Images,
    Selection,
    count_leaks,
    select_images,
    size_cautions,
)
from services.evaluator.metrics.standardisation import require_finite, standardise_sides
from services.evaluator.metrics.tables import Scoring, StudyPart
from services.evaluator.reports.chart import draw_chart
from services.evaluator.reports.embedding import FEWEST_POINTS, SIDES_SHOWN, draw_embedding, group_by_class
from services.evaluator.reports.evaluation import feature_cautions, render_csv
from services.evaluator.reports.evaluation_page import render_html
from services.evaluator.reports.style import label_sides
from services.evaluator.weights import installed as library_weights
from services.evaluator.weights.published import known_weights
from shared.artifacts.store import Artifact, ArtifactStore, DraftArtifact, get_artifacts
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.objects import get_objects

STUDY = "keras-inception"
"""Library weights of the study's network."""


def start_evaluation(caller: Caller, request: dict[str, Any]) -> Accepted:
    """Submit the job once everything it needs is known to be there.

    Raises:
        ImageSetNotFound: no such set, or not the caller's.
        NoSuchImages: a set has no image of the class or split.
        TooFewImages: fewer images on a side than a score needs.
        SizesDiffer: resize=refuse and images of several pixel sizes.
        NoClassProbabilities: the Inception Score of features=radiomics.
        WeightsNotInstalled: features=inception without its weights.
        RadiomicsNotInstalled: features=radiomics without the library.
        ModelNotFound: features=classifier without a classifier.
        NotAClassifier: `model` is of another kind.
    """
    artifacts = get_artifacts()
    selection = _select(artifacts, request, caller.owner)
    measurable(_metrics(request), len(selection.synthetic), len(selection.real), request["features"])
    if request["resize"] == "refuse":
        require_one_size(_sizes(selection.images))
    if request["features"] == "inception":
        library_weights.require_record(get_objects(), "inception", OFFLINE)
        request = {**request, "model": None}
    elif request["features"] == "radiomics":
        require_radiomics()
    else:
        request = {**request, "model": find_classifier(artifacts, request["model"], caller.owner).id}
    n_passes = 1 + (request["mode"] == "study" and library_weights.installed_record(get_objects(), STUDY) is not None)
    return submit(caller, "evaluate", request, total=n_passes * selection.n_images, unit="image")


def finish_evaluation(execution: Execution) -> list[DraftArtifact]:
    """The evaluation report: features of all images, scores, floor, table, chart and page."""
    request = execution.request
    selection = _select(execution.artifacts, request, execution.owner)
    extractor, space = build_extractor(execution)
    synthetic_set, real_set = (
        execution.artifacts.get(request[side], execution.owner, "image_set") for side in ("synthetic", "real")
    )
    seen = has_seen(execution.artifacts, space["model"], real_set)
    size_px, n_resized = common_size(_sizes(selection.real), _sizes([*selection.synthetic, *selection.other_real]))
    study = build_study_extractor(execution.objects) if _mode(request) == "study" else None
    total = selection.n_images * (1 if study is None else 2)
    measured = _measure_all(execution, selection, extractor, Reading(size_px), 0, total)
    study_sides = None
    if study is not None:
        study_sides = _measure_all(execution, selection, study, STUDY_READING, selection.n_images, total).sides
    space["n_features"] = int(measured.sides.real.features.shape[1])
    names, shown = (FEATURE_NAMES if space["name"] == "radiomics" else ()), measured.sides
    if names:
        require_finite(selection, measured.sides, names)
        shown, _ = standardise_sides(measured.sides, names)
    scoring = Scoring(
        request["split"], seen, _metrics(request), space["name"], request["seed"], execution.progress, names
    )
    network = "torch-fidelity's Inception" if space["model"] is None else f"the classifier {space['model']}"
    part = StudyPart(network, study_sides, known_weights(STUDY).command) if _mode(request) == "study" else None
    scored, plans, found = scoring.measure_all(selection, measured.sides, part)
    sizes = (len(selection.synthetic), len(selection.real))
    class_sizes = {table["class"]: (table["n_synthetic"], table["n_real"]) for table in scored["by_class"]}
    cautions = [
        *feature_cautions(space["name"], space["n_features"], sizes, class_sizes, verified=space["verified"]),
        *([seen_caution(space["model"], plans[0])] if seen else []),
        *selection.cautions,
        *found,
        *leaked_floor_cautions(count_leaks(execution.artifacts.manifest(real_set)), plans, selection.tumour_class),
        *_kind_cautions(request, synthetic_set, real_set),
        *size_cautions(selection, n_resized, size_px),
    ]
    report = {
        "synthetic": request["synthetic"],
        "real": request["real"],
        "split": request["split"] if any(image.get("split") for image in selection.real) else "all",
        "mode": _mode(request),
        "features": space,
        "size_px": list(size_px),
        "seed": request["seed"],
        **scored,
        "cache": measured.counters,
        "warnings": [caution.sentence for caution in cautions],
        "warning_codes": [caution.code for caution in cautions],
    }
    return [_draft(execution, report, _draw_map(selection, shown, report))]


@dataclass(frozen=True)
class _MeasuredSides:
    """The features of all three lists, and how they were come by: counters by side."""

    sides: Sides
    counters: dict[str, dict[str, int]]


def _select(artifacts: ArtifactStore, request: dict[str, Any], owner: str) -> Selection:
    synthetic, real = (_images(artifacts, request[side], owner) for side in ("synthetic", "real"))
    return select_images(synthetic, real, tumour_class=request["class"], split=request["split"])


def _images(artifacts: ArtifactStore, set_id: str, owner: str) -> Images:
    image_set = artifacts.get(set_id, owner, "image_set")
    images: Images = artifacts.manifest(image_set)["images"]
    return images


def _mode(request: dict[str, Any]) -> str:
    """`rigorous` or `study`; a job that was submitted by an older version has no mode."""
    return str(request.get("mode", "rigorous"))


def _metrics(request: dict[str, Any]) -> list[Metric] | None:
    return None if request["metrics"] is None else [Metric(name) for name in request["metrics"]]


def _measure_all(
    execution: Execution,
    selection: Selection,
    extractor: FeatureExtractor,
    reading: Reading,
    done_before: int,
    total: int,
) -> _MeasuredSides:
    """Features of the synthetic images, the real ones, and those of the other split, if there are any."""
    groups = {"synthetic": selection.synthetic, "real": selection.real, "other_real": selection.other_real}
    found: dict[str, Measured] = {}
    for side, images in groups.items():
        if images:
            found[side] = measure_images(
                execution.objects,
                extractor,
                images,
                reading=reading,
                progress=execution.progress,
                done_before=done_before,
                total=total,
            )
            done_before += len(images)
            if side != "other_real":
                require_contrast(side, found[side].n_constant, len(images))
    other = found.get("other_real")
    sides = Sides(found["synthetic"].images, found["real"].images, None if other is None else other.images)
    return _MeasuredSides(sides, {side: measured.counters for side, measured in found.items()})


def _sizes(images: Images) -> list[SizePx]:
    return [(image["width"], image["height"]) for image in images]


def _kind_cautions(request: dict[str, Any], synthetic: Artifact, real: Artifact) -> list[Caution]:
    found = []
    if synthetic.kind != "synthetic":
        sentence = f"The set given as synthetic is {synthetic.kind}: these are uploaded images, not generated ones."
        found.append(Caution("synthetic_set_is_real", sentence))
    if real.kind == "synthetic":
        found.append(Caution("real_set_is_synthetic", "The set given as real is synthetic."))
    if request["synthetic"] == request["real"]:
        found.append(Caution("one_set_on_both_sides", "Both sides are the same image set."))
    return found


def _draw_map(selection: Selection, sides: Sides, report: dict[str, Any]) -> bytes | None:
    """The picture of all images as points in the feature space; None where there are too few for a map."""
    labels = label_sides(report["split"])
    images = (selection.synthetic, selection.real, selection.other_real)
    features = (sides.synthetic, sides.real, sides.other_real)
    groups = [
        group
        for side, some, found in zip(SIDES_SHOWN, images, features, strict=True)
        if found is not None
        for group in group_by_class(side, labels[side], [image["class"] for image in some], found.features)
    ]
    if sum(len(group.features) for group in groups) < FEWEST_POINTS:
        return None
    return draw_embedding(groups, report["seed"], f"features: {report['features']['name']}")


def _draft(execution: Execution, report: dict[str, Any], embedding: bytes | None) -> DraftArtifact:
    chart = draw_chart(report)
    page = render_html(report, chart, embedding)
    files = {"chart.png": chart, "table.csv": render_csv(report), "report.html": page}
    if embedding is not None:
        files["embedding.png"] = embedding
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
