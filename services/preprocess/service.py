"""Start preprocessing: check the request against the image set and submit the job, whose work is in `jobs.py`."""

import json
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from services.preprocess.draws import Draw
from services.preprocess.figures.captions import KINDS
from services.preprocess.recipe import Recipe
from services.preprocess.settings import get_preprocess_settings
from shared.artifacts.store import Artifact, ArtifactStore, get_artifacts
from shared.errors import InvalidInput
from shared.jobs.submission import Accepted, Caller, submit
from shared.objects import get_objects
from shared.settings import get_settings

MEASURE, SELECT, PREPARE, ILLUSTRATE = range(4)
"""The stages of a job; the finishing step follows."""
_NAMED = 20


class NotARawSet(InvalidInput):
    """Preprocessing starts from an uploaded set."""


class EmptyImageSet(InvalidInput):
    """The set has no image."""


class NotAPreparedSet(InvalidInput):
    """Only a set that this platform prepared has a record to replay."""


class SourceChanged(InvalidInput):
    """The raw set does not hold the images that the record was made from."""


class ChooseRecipeOrReplay(InvalidInput):
    """A replay takes its recipe and its selection from the record."""


class SelectionIsEmpty(InvalidInput):
    """`exclude` names every image of `selection`."""


class ImagesNotInSet(InvalidInput):
    """The request names images that the set does not have."""


class AmbiguousImage(InvalidInput):
    """Several images of the set have this file name."""


def start_preprocessing(caller: Caller, request: dict[str, Any]) -> Accepted:
    """Submit the job, with shards for a few hundred images each.

    Args:
        caller: who asks.
        request: the members of `api.PreprocessRequest`.

    Raises:
        ImageSetNotFound: no such set, or not the caller's.
        NotARawSet: the set was preprocessed or generated already.
        EmptyImageSet: the set has no image.
        InvalidRecipe: the recipe cannot be followed.
        ImagesNotInSet, AmbiguousImage: the request names images that are not there, or not clearly.
        NotAPreparedSet, ChooseRecipeOrReplay, SourceChanged: what is to be replayed cannot be.
    """
    artifacts = get_artifacts()
    raw = artifacts.get(request["image_set"], caller.owner, "image_set")
    if raw.kind != "raw":
        raise NotARawSet(
            f"The image set {raw.id} is {raw.kind}; preprocessing starts from a raw set, one that was uploaded."
        )
    sources = {image["name"]: image["sha256"] for image in artifacts.manifest(raw)["images"]}
    if not sources:
        raise EmptyImageSet(f"The image set {raw.id} has no image: upload some first.")
    resolved = _resolve(artifacts, caller, request, sources)
    return submit(
        caller, "preprocess", resolved, shards=_shards(len(sources)), total=2 * len(sources), unit="image pass"
    )


def predict_plane_of(data: bytes) -> dict[str, Any]:
    """The imaging plane of one image that belongs to no set.

    Raises:
        UnreadableImage, UnsupportedImage, ImageTooLarge, ImageTooSmall: the file cannot be used; see `reading`.
    """
    from services.preprocess.plane_features import FEATURES, plane_features
    from services.preprocess.planes import predict_plane
    from services.preprocess.reading import read_gray

    settings = get_settings()
    gray = read_gray(data, max_pixels=settings.image_max_pixels, min_side_px=settings.image_min_side_px)
    found = predict_plane(plane_features(gray.pixels_u8))
    return {"plane": found.plane, "confidence": found.confidence, "how": found.how, "features": FEATURES}


def _resolve(
    artifacts: ArtifactStore, caller: Caller, request: dict[str, Any], sources: dict[str, str]
) -> dict[str, Any]:
    """The request as the workers read it: a whole recipe, full names, and a record in a blob."""
    finder = _Finder(list(sources))
    resolved = {key: request.get(key) for key in ("image_set", "name", "max_unreadable_share", "replay")}
    if request.get("replay"):
        if request.get("recipe") or request.get("selection") or request.get("exclude") or request.get("relabel"):
            raise ChooseRecipeOrReplay(
                "`replay` takes recipe, selection and corrections from the record of the set: leave the others out."
            )
        prepared = artifacts.get(request["replay"], caller.owner, "image_set")
        recorded, recipe, relabel = _read_record(artifacts, prepared, sources)
        exclude: list[str] = []
    else:
        recipe = Recipe.parse(request.get("recipe") or "rigorous")
        exclude = sorted(set(finder.find(request.get("exclude") or [])))
        relabelled = request.get("relabel") or {}
        relabel = dict(zip(finder.find(list(relabelled)), relabelled.values(), strict=True))
        chosen = request.get("selection") or []
        found = finder.find([row["image"] for row in chosen])
        recorded = {
            name: Draw(row["rotation_deg"], row["flip_horizontal"], row["flip_vertical"])
            for name, row in zip(found, chosen, strict=True)
            if name not in exclude
        }
        if chosen and not recorded:
            raise SelectionIsEmpty("`exclude` leaves out every image of `selection`; name one at least that stays.")
    resolved |= {"recipe": recipe.model_dump(mode="json"), "exclude": exclude, "relabel": relabel, "recorded": None}
    if recorded:
        record = json.dumps({name: draw.record() for name, draw in recorded.items()})
        resolved["recorded"] = get_objects().put_blob(record.encode())  # lists of jobs show their requests
    return resolved


def _read_record(
    artifacts: ArtifactStore, prepared: Artifact, sources: dict[str, str]
) -> tuple[dict[str, Draw], Recipe, dict[str, str]]:
    """What was drawn for each source image of a prepared set, its recipe, and the classes that were corrected."""
    manifest = artifacts.manifest(prepared)
    images = manifest["images"]
    if prepared.kind != "preprocessed" or any("source_sha256" not in image for image in images):
        raise NotAPreparedSet(
            f"The image set {prepared.id} is {prepared.kind} and has no record of what was drawn for each image: "
            "name a set that `POST /preprocess` made with this version."
        )
    changed = [image["source"] for image in images if sources.get(image["source"]) != image["source_sha256"]]
    if changed:
        raise SourceChanged(
            f"{len(changed)} of the {len(images)} recorded images are missing in this set or have other bytes, first "
            f"{changed[0]}: replay on the raw set that {prepared.id} was made from.",
            changed=changed[:_NAMED],
        )
    drawn = Draw().record().keys()
    recorded = {image["source"]: Draw(**{key: image["parameters"][key] for key in drawn}) for image in images}
    return recorded, Recipe.parse(manifest["recipe"]), manifest["request"].get("relabel") or {}


class _Finder:
    """Finds images by full name, or by their file name without ending where that is unique."""

    def __init__(self, names: list[str]) -> None:
        self._names = set(names)
        self._stems: dict[str, list[str]] = {}
        for name in names:
            self._stems.setdefault(PurePosixPath(name).stem, []).append(name)

    def find(self, wanted: list[str]) -> list[str]:
        """The full names, in the order given.

        Raises:
            ImagesNotInSet, AmbiguousImage: a name fits no image, or several.
        """
        missing = [name for name in wanted if name not in self._names and name not in self._stems]
        if missing:
            raise ImagesNotInSet(
                f"{len(missing)} of {len(wanted)} named images are not in the set; first: "
                f"{', '.join(missing[:5])[:300]}. "
                "GET /image-sets/{id}/images lists its names.",
                missing=missing[:_NAMED],
            )
        found = []
        for name in wanted:
            fitting = [name] if name in self._names else self._stems[name]
            if len(fitting) > 1:
                raise AmbiguousImage(f"{name!r} fits {' and '.join(fitting[:3])}: give the full name.")
            found.append(fitting[0])
        if len(set(found)) < len(found):
            twice = Counter(found).most_common(1)[0][0]
            raise AmbiguousImage(f"The request names {twice} twice: give each image once.")
        return found


def _shards(n_images: int) -> list[dict[str, Any]]:
    """Measuring shards, the selection, as many preparing shards, which share what was selected, and the figures."""
    size = get_preprocess_settings().shard_size
    starts = range(0, n_images, size)
    ranges = [(start, min(start + size, n_images)) for start in starts]
    return [
        *({"stage": MEASURE, "start": start, "stop": stop} for start, stop in ranges),
        {"stage": SELECT},
        *(
            {"stage": PREPARE, "part": part, "parts": len(ranges), "quota": stop - start}
            for part, (start, stop) in enumerate(ranges)
        ),
        *({"stage": ILLUSTRATE, "figures": kind} for kind in KINDS),
    ]
