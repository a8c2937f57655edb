"""Start and run audits: check, share out, call the science, put the report together.

    one shard for each class, one for each training of the usefulness check -> finish

What a shard finds goes into blobs; its row holds their hashes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from services.evaluator.audit.sides import (
    Sides,
    UsefulnessNotMeasurable,
    choose_size,
    refuse_usefulness,
    warn_of_kinds,
    warn_of_sides,
)
from services.evaluator.audit.small_network import N_UPDATES
from services.evaluator.metrics.selection import Caution, count_leaks
from services.evaluator.requests import Check
from services.evaluator.sources import StepProgress, get_json, load_images, open_sides, put_json, warn_of_training_set
from shared.artifacts.store import DraftArtifact, get_artifacts
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit
from shared.tumour import CLASS_ORDER

if TYPE_CHECKING:
    from services.evaluator.audit.images import AuditImages

N_SEEDS: Final = 3
"""Trainings on each kind of images, which differ in their seed."""
_PASSES: Final = {Check.MEMORISATION: 6, Check.SHORTCUTS: 4, Check.DIVERSITY: 2}
"""What a check costs, in readings of all images; only their proportions matter, for the forecast of the end."""
_PASSES_PER_UPDATE: Final = 32
"""What an update of a training costs: it looks at 64 images, each for about half as long as reading one takes."""


def start_audit(caller: Caller, request: dict[str, Any]) -> Accepted:
    """Submit the audit that `request`, an `AuditRequest`, asks for.

    Raises:
        ImageSetNotFound: no such set, or not the caller's.
        NoSuchImages: a set has no image of a class, or the real one none of the split.
        TooFewImages: a side has too few images of a class.
        UsefulnessNotMeasurable: usefulness alone was asked for, and cannot be measured.
    """
    artifacts = get_artifacts()
    synthetic, real = (artifacts.get(request[side], caller.owner, "image_set") for side in ("synthetic", "real"))
    sides = open_sides(artifacts, request, caller.owner)
    size_px, resizing = choose_size(sides)
    real_manifest = artifacts.manifest(real)
    has_splits = any(image.get("split") for image in real_manifest["images"])
    cautions = [
        *warn_of_kinds(synthetic.kind, real.kind, same=synthetic.id == real.id),
        *warn_of_training_set(artifacts, synthetic, real, caller.owner),
        *warn_of_sides(sides, request["split"], has_splits=has_splits),
        *_warn_of_leaks(real_manifest),
        *resizing,
    ]
    checks = [Check(check) for check in request["checks"]]
    if Check.USEFULNESS in checks and (refusal := refuse_usefulness(sides)):
        checks.remove(Check.USEFULNESS)
        cautions.append(refusal)
        if not checks:
            raise UsefulnessNotMeasurable(f"{refusal.sentence} Nothing else was asked for.")
    # What is decided here holds for all shards, whatever people change in the meantime.
    resolved = {
        **request,
        "updates": request["updates"] or N_UPDATES,
        "checks": checks,
        "classes": list(sides),
        "has_splits": has_splits,
        "size_px": list(size_px),
        "warnings": [caution.sentence for caution in cautions],
        "warning_codes": [caution.code for caution in cautions],
    }
    shards = _cut_shards(list(sides), checks)
    total = sum(_weigh(shard, sides, resolved) for shard in shards)
    return submit(caller, "audit", resolved, shards=shards, total=total, unit="image pass")


def _warn_of_leaks(manifest: dict[str, Any]) -> list[Caution]:
    leaks = count_leaks(manifest)
    if not leaks:
        return []
    sentence = (
        f"{leaks} Testing images of the real set occur in its Training images: the baseline of copies and the accuracy "
        "after training on real images are too high by that."
    )
    return [Caution("known_leakage", sentence)]


def _cut_shards(classes: Sequence[str], checks: Sequence[Check]) -> list[dict[str, Any]]:
    """A shard for each class, if a check looks at classes, and one for each training, which are the longer ones."""
    trainings = [
        {"part": "usefulness", "trained_on": kind, "seed": seed}
        for seed in range(N_SEEDS)
        for kind in ("synthetic", "real")
    ]
    by_class = [{"part": "class", "class": name} for name in classes]
    return [
        *(by_class if set(checks) - {Check.USEFULNESS} else []),
        *(trainings if Check.USEFULNESS in checks else []),
    ]


def _weigh(shard: dict[str, Any], sides: dict[str, Sides], request: dict[str, Any]) -> int:
    """Units of a shard: readings of an image, or what takes about as long."""
    if shard["part"] == "class":
        return sides[shard["class"]].n_images * (1 + sum(_PASSES.get(check, 0) for check in request["checks"]))
    n_read = sum(len(side.synthetic) + len(side.baseline) for side in sides.values())
    return n_read + int(request["updates"]) * _PASSES_PER_UPDATE


def audit_part(execution: Execution) -> dict[str, Any]:
    """One shard: a class, or one training."""
    sides = open_sides(execution.artifacts, execution.request, execution.owner)
    part = _audit_class if execution.spec["part"] == "class" else _train_once
    return part(execution, sides)


def _audit_class(execution: Execution, sides: dict[str, Sides]) -> dict[str, Any]:
    """`{"class", "measured", "points", "sheet"}`, the last three being blobs: JSON, thumbnails, picture."""
    from services.evaluator.audit.diversity import measure_diversity
    from services.evaluator.audit.memorisation import find_copies
    from services.evaluator.audit.shortcuts import measure_shortcuts
    from services.evaluator.reports.audit_pictures import draw_nearest
    from services.evaluator.reports.embedding import pack_thumbnails

    request, name = execution.request, execution.spec["class"]
    side, progress = sides[name], execution.progress
    groups = _load_class(execution, side)
    synthetic, reference, baseline = groups["synthetic"], groups["reference"], groups.get("baseline")
    measured: dict[str, Any] = {
        "n_synthetic": len(synthetic),
        "n_reference": len(reference),
        "n_baseline": len(side.baseline),
    }
    done = side.n_images
    for check, measure in (
        (Check.MEMORISATION, find_copies),
        (Check.SHORTCUTS, measure_shortcuts),
        (Check.DIVERSITY, measure_diversity),
    ):
        if check not in request["checks"]:
            continue
        span = side.n_images * _PASSES[check]
        step = StepProgress(progress, done, span)
        measured[check] = measure(synthetic, reference, baseline, seed=request["seed"], progress=step)
        done += span
        progress.update(done, done)
        progress.raise_if_cancelled()
    put = execution.objects.put_blob
    found = measured.get(Check.MEMORISATION)
    return {
        "class": name,
        "measured": put_json(execution, measured),
        "points": put(pack_thumbnails({key: group.images_u8 for key, group in groups.items()}, request["seed"])),
        "sheet": put(draw_nearest(found, synthetic, reference, name)) if found else None,
    }


def _load_class(execution: Execution, side: Sides) -> dict[str, "AuditImages"]:
    """Each side's images; no baseline where there are no images of it."""
    width, height = execution.request["size_px"]
    loaded, done = {}, 0
    for key, images in (("synthetic", side.synthetic), ("reference", side.reference), ("baseline", side.baseline)):
        if images:
            step = StepProgress(execution.progress, done, len(images))
            loaded[key] = load_images(execution.objects, images, (width, height), step)
            done += len(images)
    return loaded


def _train_once(execution: Execution, sides: dict[str, Sides]) -> dict[str, Any]:
    """`{"run": blob}`, the JSON of one training and its test on the other split."""
    from services.evaluator.audit.usefulness import choose_as_many, train_and_test

    request, spec = execution.request, execution.spec
    seed = request["seed"] + spec["seed"]
    wanted = {name: len(side.synthetic) for name, side in sides.items()}
    missing: dict[str, int] = {}
    if spec["trained_on"] == "synthetic":
        training = [image for side in sides.values() for image in side.synthetic]
    else:
        candidates = [image for side in sides.values() for image in side.reference]
        rows, missing = choose_as_many([image["class"] for image in candidates], wanted, seed)
        training = [candidates[row] for row in rows]
    testing = [image for side in sides.values() for image in side.baseline]
    loaded, done = [], 0
    for images in (training, testing):
        loaded.append(_load_small(execution, images, done))
        done += len(images)
    # Fewer images than the weight counts are read where there are fewer real ones.
    step = StepProgress(execution.progress, done, _weigh(spec, sides, request) - done)
    run = train_and_test(*loaded[0], *loaded[1], seed=seed, progress=step, n_updates=request["updates"])
    return {"run": put_json(execution, {**spec, **run, "seed": seed, "missing": missing})}


def _load_small(execution: Execution, images: Sequence[dict[str, Any]], done: int) -> tuple[Any, Any]:
    """The images as the classifier of the usefulness check takes them, and their classes by number."""
    import numpy as np

    from services.evaluator.audit.usefulness import shrink_images

    width, height = execution.request["size_px"]
    small = []
    # A few at a time, so that the large images never fill the memory.
    for start in range(0, len(images), 256):
        some = list(images[start : start + 256])
        step = StepProgress(execution.progress, done + start, len(some))
        small.append(shrink_images(load_images(execution.objects, some, (width, height), step).images_u8))
    order = [str(name) for name in CLASS_ORDER]
    return np.concatenate(small), np.array([order.index(image["class"]) for image in images], dtype=np.int64)


def finish_audit(execution: Execution) -> list[DraftArtifact]:
    """The audit report: findings, what each check measured, tables, pictures and the page."""
    from services.evaluator.audit.findings import list_findings
    from services.evaluator.audit.usefulness import summarise_usefulness
    from services.evaluator.reports.audit_files import write_files

    request = execution.request
    parts = {result["class"]: result for result in execution.results if "class" in result}
    classes = {name: get_json(execution, parts[name]["measured"]) for name in request["classes"] if name in parts}
    runs = [get_json(execution, result["run"]) for result in execution.results if "run" in result]
    usefulness = summarise_usefulness(runs) if runs else None
    missing = max((sum(run["missing"].values()) for run in runs), default=0)
    warnings, codes = list(request["warnings"]), list(request.get("warning_codes", []))
    if missing:
        warnings.append(f"Usefulness: {missing} fewer real images than synthetic ones were there to train on.")
        codes.append("fewer_real_images")
    findings = list_findings(classes, usefulness)
    execution.progress.raise_if_cancelled()
    nearest = {name: found["memorisation"].pop("nearest") for name, found in classes.items() if "memorisation" in found}
    report = {
        **{
            key: request[key] for key in ("synthetic", "real", "class", "split", "checks", "updates", "seed", "size_px")
        },
        **({} if request.get("has_splits", True) else {"split": "all"}),
        "findings": findings,
        "classes": classes,
        "usefulness": usefulness,
        "warnings": warnings,
        "warning_codes": codes,
    }
    sheets = {name: execution.objects.get_blob(part["sheet"]) for name, part in parts.items() if part["sheet"]}
    points = {name: execution.objects.get_blob(part["points"]) for name, part in parts.items()}
    title = request["name"] or f"Audit of {request['class'] or 'all classes'}"
    files = write_files(report, nearest, title=title, sheets=sheets, points=points)
    execution.progress.raise_if_cancelled()
    counts = {level: sum(f["severity"] == level for f in findings) for level in ("problem", "notice")}
    n_copies = sum(len(found["memorisation"]["copies"]) for found in classes.values() if "memorisation" in found)
    body = {
        "report": report,
        "objects": {name: execution.objects.put_blob(data) for name, data in files.items()},
        "seeds": [request["seed"]],
    }
    summary = {"synthetic": request["synthetic"], "problems": counts["problem"], "notices": counts["notice"]}
    summary |= {"copies": n_copies} if nearest else {}
    parents = list(dict.fromkeys((request["synthetic"], request["real"])))
    return [DraftArtifact("report", "audit", title, body, summary, request["class"], parents)]
