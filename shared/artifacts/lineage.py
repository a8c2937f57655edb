"""What an artifact was made from, however many steps back: parents name one, and leaving images out is a step too."""

from collections.abc import Iterable

from shared.artifacts.store import Artifact, ArtifactStore
from shared.errors import NotFound

_OF_SCANS = ("raw", "preprocessed")
_OF_DRAWN_IMAGES = ("synthetic",)


def find_real_sets(artifacts: ArtifactStore, set_ids: Iterable[str], owner: str) -> set[str]:
    """These image sets and all of real images that they were made from; synthetic sets hold no real image."""
    return {*set_ids, *(each.id for each in _climb(artifacts, set_ids, owner, _OF_SCANS) if each.kind in _OF_SCANS)}


def find_raw_sets(artifacts: ArtifactStore, set_ids: Iterable[str], owner: str) -> list[Artifact]:
    """Those of `find_real_sets` that are as they were uploaded."""
    return [each for each in _climb(artifacts, set_ids, owner, _OF_SCANS) if each.kind == "raw"]


def find_models(artifacts: ArtifactStore, artifact: Artifact, owner: str) -> list[Artifact]:
    """The models that drew the images of a synthetic set, or that a model began with.

    Sets between are passed through: one that leaves images out has the set before as its parent.
    """
    parents = artifacts.manifest(artifact)["parents"]
    return [each for each in _climb(artifacts, parents, owner, _OF_DRAWN_IMAGES) if each.noun == "model"]


def _climb(artifacts: ArtifactStore, ids: Iterable[str], owner: str, through: tuple[str, ...]) -> list[Artifact]:
    """The artifacts with these ids, and the parents of those of the kinds `through`, and so on; each one once.

    What is not the owner's, or not there any more, is passed over.
    """
    waiting, found = list(ids), dict[str, Artifact]()
    while waiting:
        artifact = _get(artifacts, waiting.pop(0), owner)
        if artifact is None or artifact.id in found:
            continue
        found[artifact.id] = artifact
        if artifact.kind in through:
            waiting += artifacts.manifest(artifact)["parents"]
    return list(found.values())


def _get(artifacts: ArtifactStore, artifact_id: str, owner: str) -> Artifact | None:
    try:
        return artifacts.get(artifact_id, owner)
    except NotFound:
        return None
