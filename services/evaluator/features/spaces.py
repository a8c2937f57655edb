"""The feature space of a request: which weights, from where, and the extractor built on them."""

import os
from typing import Any

from services.evaluator.features.extraction import ClassifierExtractor, FeatureExtractor, InceptionExtractor
from services.evaluator.features.radiomics import RadiomicsExtractor
from services.evaluator.weights import installed as library_weights
from shared.artifacts.lineage import find_real_sets
from shared.artifacts.store import Artifact, ArtifactStore
from shared.errors import InvalidInput, ModelNotFound
from shared.jobs.runner import Execution
from shared.objects import ObjectStore
from shared.settings import get_settings

OFFLINE = "Or ask for features=classifier, which needs no library weights, only a classifier trained here."


class NotAClassifier(InvalidInput):
    """The model named in the request is not a classifier."""


class ModelWithoutWeights(InvalidInput):
    """The model's manifest does not name exactly one safetensors object."""


def find_classifier(artifacts: ArtifactStore, model_id: str | None, owner: str) -> Artifact:
    """The classifier of this id, or the newest one.

    Raises:
        ModelNotFound: there is none, or it is somebody else's.
        NotAClassifier: the model is of another kind.
    """
    if model_id is None:
        newest = artifacts.newest("model", "classifier", owner)
        if newest is None:
            raise ModelNotFound(
                "features=classifier needs a trained classifier; make one with POST /models/classifier."
            )
        return newest
    model = artifacts.get(model_id, owner, "model")
    if model.kind != "classifier":
        raise NotAClassifier(f"The model {model_id} is a {model.kind} model; features=classifier needs a classifier.")
    return model


def has_seen(artifacts: ArtifactStore, model_id: str | None, real: Artifact) -> bool:
    """Whether the classifier was trained on the image set `real`, or on one made from the same upload.

    One that its card says was trained on no real image has seen none, though a real set be among its parents.

    Args:
        artifacts: where manifests are.
        model_id: the classifier; None where the features are not a classifier's.
        real: the real image set.
    """
    if model_id is None:
        return False
    manifest = artifacts.manifest(artifacts.get(model_id, real.owner, "model"))
    if ((manifest.get("card") or {}).get("data") or {}).get("n_real") == 0:
        return False
    asked = manifest.get("request") or {}
    only_tested_on = {asked.get("test")} - {asked.get("real")}  # a parent as well
    parents = [parent for parent in manifest["parents"] if parent not in only_tested_on]
    trained_on = find_real_sets(artifacts, parents, real.owner)
    return not trained_on.isdisjoint(find_real_sets(artifacts, [real.id], real.owner))


def build_extractor(execution: Execution) -> tuple[FeatureExtractor, dict[str, Any]]:
    """The extractor of the request, and what the report says of it."""
    if execution.request["features"] == "radiomics":
        return _radiomics_extractor()
    import torch

    threads = get_settings().torch_threads
    if threads is not None:
        torch.set_num_threads(threads)
    if execution.request["features"] == "inception":
        return _inception_extractor(execution.objects)
    return _classifier_extractor(execution)


def build_study_extractor(objects: ObjectStore) -> FeatureExtractor | None:
    """The study's network; None where its weights are not installed."""
    record = library_weights.installed_record(objects, "keras-inception")
    if record is None:
        return None
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from services.evaluator.features.keras_inception import KerasInceptionExtractor

    return KerasInceptionExtractor(objects.get_blob(record["sha256"]), sha256=record["sha256"])


def _inception_extractor(objects: ObjectStore) -> tuple[FeatureExtractor, dict[str, Any]]:
    record = library_weights.require_record(objects, "inception", OFFLINE)
    extractor = InceptionExtractor(objects.get_blob(record["sha256"]), sha256=record["sha256"])
    return extractor, {
        "name": "inception",
        "sha256": record["sha256"],
        "model": None,
        "verified": bool(record["verified"]),
    }


def _radiomics_extractor() -> tuple[FeatureExtractor, dict[str, Any]]:
    extractor = RadiomicsExtractor()
    space = {"name": "radiomics", "sha256": extractor.sha256, "model": None, "verified": True}
    return extractor, {**space, "library": extractor.made_with}


def _classifier_extractor(execution: Execution) -> tuple[FeatureExtractor, dict[str, Any]]:
    # Keras chooses its backend at import. This worker has torch for Inception; a second framework would double its
    # memory.
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from services.classifier import inference

    model = find_classifier(execution.artifacts, execution.request["model"], execution.owner)
    manifest = execution.artifacts.manifest(model)
    found = [sha256 for name, sha256 in manifest["objects"].items() if name.endswith(".safetensors")]
    if len(found) != 1:
        raise ModelWithoutWeights(f"The model {model.id} names {len(found)} safetensors objects; expected one.")
    network = inference.load_network(manifest["config"], execution.objects.get_blob(found[0]))
    extractor = ClassifierExtractor(
        sha256=found[0],
        extract=lambda images_u8: inference.extract_features(network, images_u8),
        predict=lambda images_u8: inference.predict(network, images_u8),
    )
    return extractor, {"name": "classifier", "sha256": found[0], "model": model.id, "verified": True}
