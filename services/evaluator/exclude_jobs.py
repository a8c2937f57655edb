"""A new image set without some images of another: those that an audit calls copies, or those that a person names."""

from typing import Any, Final

from shared.artifacts.annotations import annotated_images
from shared.artifacts.store import Artifact, DraftArtifact, get_artifacts
from shared.database import get_database
from shared.errors import Conflict, ImageNotFound, InvalidInput
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit

_OWN: Final = frozenset(
    ("id", "noun", "kind", "name", "class", "parents", "job", "request", "code_version", "library_versions", "images")
)
"""Members of a manifest that are about one set alone; the others, such as its recipe, hold for what is left of it."""
_NAMED: Final = 3


class NotAnAudit(InvalidInput):
    """The report is of another kind and names no copies."""


class ReportOfAnotherSet(InvalidInput):
    """The report is an audit of other images."""


class MemorisationNotChecked(Conflict):
    """The audit did not look for copies."""


class NothingToExclude(Conflict):
    """The audit found no copies, so the new set would be the old one."""


class NoImagesLeft(InvalidInput):
    """All images of the set would be left out."""


class SetIsPreprocessed(InvalidInput):
    """What a preprocessed set says of itself (leaks, planes, counts) would not hold for a part of it."""


def start_exclusion(caller: Caller, image_set_id: str, request: dict[str, Any]) -> Accepted:
    """Submit the making of a set without the images of `request`, an `ExcludeRequest`.

    Raises:
        ImageSetNotFound, ReportNotFound: no such thing, or not the caller's.
        SetIsPreprocessed: the set must be made anew from its raw one.
        ImageNotFound: a name is of no image in the set.
        NotAnAudit, ReportOfAnotherSet, MemorisationNotChecked, NothingToExclude: what is wrong with the report.
        NoImagesLeft: every image would go.
    """
    artifacts = get_artifacts()
    image_set = artifacts.get(image_set_id, caller.owner, "image_set")
    if image_set.kind == "preprocessed":
        raise SetIsPreprocessed(
            f"Image set {image_set.id} is preprocessed; leave images out with the field `exclude` of POST /preprocess, "
            "which looks for leaks and planes again."
        )
    known = [image["name"] for image in artifacts.manifest(image_set)["images"]]
    if request["report"] is not None:
        reasons = _read_copies(artifacts.get(request["report"], caller.owner, "report"), image_set)
    else:
        reasons = dict.fromkeys(request["images"], "named in the request")
    missing = sorted(set(reasons) - set(known))
    if missing:
        raise ImageNotFound(
            f"{len(missing)} of the {len(reasons)} names are of no image in {image_set.id}: "
            f"{', '.join(missing[:_NAMED])}. Its images are named like {known[0]}.",
            missing=missing[:100],
        )
    if len(reasons) == len(known):
        raise NoImagesLeft(f"That would leave none of the {len(known)} images of {image_set.id}.")
    resolved = {"image_set": image_set.id, "report": request["report"], "exclude": reasons, "name": request["name"]}
    return submit(caller, "exclude", resolved, total=len(known), unit="image")


def _read_copies(report: Artifact, image_set: Artifact) -> dict[str, str]:
    """Why to leave out which image: name to reason."""
    if report.kind != "audit":
        raise NotAnAudit(
            f"Report {report.id} is of kind {report.kind}; only an audit names copies. Make one with POST /audit."
        )
    body = get_artifacts().manifest(report)["report"]
    if body["synthetic"] != image_set.id:
        raise ReportOfAnotherSet(f"Report {report.id} is an audit of {body['synthetic']}, not of {image_set.id}.")
    found = [of_class.get("memorisation") for of_class in body["classes"].values()]
    if not any(found):
        raise MemorisationNotChecked(
            f"Report {report.id} did not look for copies; audit again with `memorisation` among the checks."
        )
    reasons = {
        copy["name"]: f"copy of {copy['nearest']} of {body['real']}"
        for part in found
        if part
        for copy in part["copies"]
    }
    if not reasons:
        raise NothingToExclude(f"Report {report.id} found no copies in {image_set.id}: there is nothing to leave out.")
    return reasons


def finish_exclusion(execution: Execution) -> list[DraftArtifact]:
    """The new set: the images that stay, and beside them which were left out and why."""
    request, reasons = execution.request, execution.request["exclude"]
    image_set = execution.artifacts.get(request["image_set"], execution.owner, "image_set")
    manifest = execution.artifacts.manifest(image_set)
    everything = annotated_images(get_database(), image_set, manifest["images"])
    images = [image for image in everything if image["name"] not in reasons]
    excluded = [{"name": name, "reason": reason} for name, reason in sorted(reasons.items())]
    execution.progress.update(len(everything), len(everything))
    body = {key: value for key, value in manifest.items() if key not in _OWN}
    body |= {"images": images, "excluded": [*manifest.get("excluded", []), *excluded]}
    summary = {**image_set.summary, "n_images": len(images), "n_excluded": len(body["excluded"])}
    for counted, member in (("classes", "class"), ("splits", "split")):
        if counted in summary:
            values = [image[member] for image in images if image[member]]
            summary[counted] = {value: values.count(value) for value in dict.fromkeys(values)}
    parents = [image_set.id, *([request["report"]] if request["report"] else [])]
    name = request["name"] or f"{image_set.name} without {len(reasons)}"
    return [DraftArtifact("image_set", image_set.kind, name, body, summary, image_set.tumour_class, parents)]
