"""The last step of a preprocessing job: the prepared set, and the report on what was found."""

from dataclasses import dataclass
from typing import Any

from services.preprocess.analysis import Measurement, count_by_class
from services.preprocess.duplicates import choose_patients, find_copies, find_crossing_patients, find_leaks
from services.preprocess.figures.captions import CAPTIONS, file_name
from services.preprocess.findings import Findings
from services.preprocess.near_duplicates import NearPair
from services.preprocess.recipe import Recipe
from services.preprocess.report import build_report, write_page, write_table
from services.preprocess.result_names import name_results
from services.preprocess.selection import Drop, search_rule
from services.preprocess.sources import get_json, get_result, raw_set
from shared.artifacts.store import Artifact, DraftArtifact
from shared.jobs.runner import Execution
from shared.tumour import Split

_SUMMARY = ("n_images", "n_kept", "n_dropped", "drop_reasons", "warnings")


@dataclass(frozen=True)
class Outcome:
    """What the stages of a job left.

    Attributes:
        raw: the set that was prepared.
        findings: the facts about it.
        images: the prepared images, as manifests hold them.
    """

    raw: Artifact
    findings: Findings
    images: list[dict[str, Any]]


def read_outcome(execution: Execution) -> Outcome:
    """What the stages up to the preparing one left."""
    raw = raw_set(execution)
    findings = _read_findings(execution, raw)
    prepared = {
        image["source"]: image
        for result in execution.results
        if "prepared" in result
        for image in get_json(execution, result["prepared"])
    }
    return Outcome(raw, findings, _set_images(execution, findings, prepared))


def finish_preprocessing(execution: Execution) -> list[DraftArtifact]:
    """The prepared set and its analysis report, from what the shards left."""
    outcome = read_outcome(execution)
    raw, findings = outcome.raw, outcome.findings
    report = build_report(findings)
    name = execution.request.get("name") or f"{raw.name}, {findings.recipe.name}"
    title = f"Analysis of {name}"
    drawn = {file: sha256 for result in execution.results for file, sha256 in result.get("figures", {}).items()}
    order = [file_name(key) for key in CAPTIONS]
    figures = dict(sorted(drawn.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))
    shown = {file: execution.objects.get_blob(sha256) for file, sha256 in figures.items() if file.endswith(".png")}
    files = {"table.csv": write_table(findings), "report.html": write_page(report, title, shown)}
    objects = {**figures, **{file: execution.objects.put_blob(data) for file, data in files.items()}}
    return [
        _set_draft(raw, name, outcome.images, findings),
        DraftArtifact(
            noun="report",
            kind="analysis",
            name=title,
            body={"report": report, "objects": objects},
            summary={key: report[key] for key in _SUMMARY},
            parents=[raw.id],
        ),
    ]


def _read_findings(execution: Execution, raw: Artifact) -> Findings:
    plan, found = get_result(execution, "plan"), get_result(execution, "findings")
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


def _set_images(execution: Execution, findings: Findings, prepared: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The images of the result, in the order of the plan, as manifests hold them."""
    by_name, patients = {image.name: image for image in findings.images}, choose_patients(findings.copies)
    names = name_results(findings.kept, findings.recipe.extension, execution.request["relabel"])
    size_px = findings.recipe.size_px
    return [
        {
            "name": names[source],
            "class": by_name[source].tumour_class,
            "split": by_name[source].split,
            "plane": by_name[source].plane,
            "plane_confidence": by_name[source].plane_confidence,
            "plane_source": by_name[source].plane_source,
            "group": patients[source],  # Held-out images go by this member.
            "sha256": prepared[source]["sha256"],
            "width": size_px,
            "height": size_px,
            "source": source,
            "source_sha256": prepared[source]["source_sha256"],
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
    crossing = find_crossing_patients(findings.copies, set(findings.kept))
    grouped = {image.name for image in findings.images if image.split == Split.TESTING and image.name in crossing}
    rule = search_rule(findings.recipe.near_duplicates)
    return {
        "checked": True,
        "exact": len(exact),
        "near": len(near),
        "groups": len({patient for patients in crossing.values() for patient in patients}),
        "kept": len(exact | near | grouped),
        "waiver": findings.recipe.leakage_waiver,
        "correlation": rule.correlation,
    }
