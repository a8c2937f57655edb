"""Images of a generated set, drawn again by its recipe and compared by their hashes."""

from typing import Any

from services.generator.sample_jobs import cut_shards, read_recipe
from shared.artifacts.store import DraftArtifact, get_artifacts
from shared.errors import ImageNotFound
from shared.jobs.runner import Execution
from shared.jobs.submission import Accepted, Caller, submit


def start_regeneration(caller: Caller, image_set_id: str, names: list[str]) -> Accepted:
    """Submit the drawing anew of the images with these names; a name given twice counts once.

    Raises:
        ImageSetNotFound, NotGenerated, ImageNotFound: at once.
    """
    image_set = get_artifacts().get(image_set_id, caller.owner, "image_set")
    recipe = read_recipe(image_set)
    known = {image["name"]: image for image in get_artifacts().manifest(image_set)["images"]}
    wanted = list(dict.fromkeys(names))
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ImageNotFound(
            f"{len(missing)} of the {len(wanted)} names are of no image in {image_set.id}: {', '.join(missing[:3])}. "
            f"Its images are named like {next(iter(known))}.",
            missing=missing,
        )
    images = [
        {"index": known[name]["parameters"]["index"], "name": name, "sha256": known[name]["sha256"]} for name in wanted
    ]
    model = get_artifacts().get(recipe.model, caller.owner, "model")
    request = {
        "image_set": image_set.id,
        "class": image_set.tumour_class,
        "weights": get_artifacts().manifest(model)["objects"]["weights"],
        "recipe": recipe.model_dump(),
        "images": images,
    }
    shards = cut_shards([image["index"] for image in images], recipe)
    return submit(caller, "diffusion.regenerate", request, shards=shards, total=len(images), unit="image")


def finish_regeneration(execution: Execution) -> list[DraftArtifact]:
    """A report on which images came out as they were: `{"n", "equal", "different": [{name, expected, drawn}], ...}`."""
    request = execution.request
    drawn = {image["index"]: image["sha256"] for part in execution.results for image in part["images"]}
    different = [
        {"name": image["name"], "expected": image["sha256"], "drawn": drawn[image["index"]]}
        for image in request["images"]
        if drawn[image["index"]] != image["sha256"]
    ]
    manifest = execution.artifacts.manifest(execution.artifacts.get(request["image_set"], execution.owner, "image_set"))
    n = len(request["images"])
    report: dict[str, Any] = {
        "image_set": request["image_set"],
        "n": n,
        "equal": n - len(different),
        "different": different,
        "recipe": request["recipe"],
        "drawn_first_with": {"code_version": manifest["code_version"], **manifest["library_versions"]},
    }
    name = f"{n - len(different)} of {n} images drawn again are equal"
    summary = {"image_set": request["image_set"], "n": n, "equal": n - len(different)}
    parents = [request["image_set"], request["recipe"]["model"]]
    return [DraftArtifact("report", "regeneration", name, {"report": report}, summary, request["class"], parents)]
