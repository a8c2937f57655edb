"""Classify one image with a model that stays in memory."""

import base64
import io
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shared.artifacts.store import Artifact, ArtifactStore, get_artifacts
from shared.errors import ModelNotFound
from shared.objects import ObjectStore, get_objects
from shared.settings import get_settings
from shared.tumour import CLASS_ORDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from services.classifier.inference import TrainedNetwork

WARM_MODELS = 2
"""Models kept in memory; the full VGG-19 takes about 250 MB."""
LOW_CONFIDENCE = 0.6
NOT_A_DEVICE = "For research only: this is not a medical device and not a diagnosis."
# What the pixels of an image set that was never preprocessed went through: only the fit to the network's size.
UNPREPARED = {"name": "none", "duplicates": "none", "size_rule": "none", "clahe": None}


class WarmModels:
    """The classifiers of this process, loaded once and shared by all threads."""

    def __init__(self, artifacts: ArtifactStore, objects: ObjectStore) -> None:
        self._artifacts = artifacts
        self._objects = objects
        self._loaded: OrderedDict[str, TrainedNetwork] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, owner: str, model_id: str | None) -> Artifact:
        """The model with this id, or the owner's newest classifier.

        Raises:
            ModelNotFound: none of that id or none at all; says how to train one.
        """
        how = "train one with POST /models/classifier"
        if model_id is None:
            newest = self._artifacts.newest("model", "classifier", owner)
            if newest is None:
                raise ModelNotFound(f"There is no classifier yet; {how}.")
            return newest
        artifact = self._artifacts.get(model_id, owner, "model")
        if artifact.kind != "classifier":
            raise ModelNotFound(f"The model {model_id} is a {artifact.kind} model; name a classifier, or {how}.")
        return artifact

    def load(self, artifact: Artifact) -> "TrainedNetwork":
        """The network, called once so that later calls find it compiled."""
        with self._lock:
            if artifact.id not in self._loaded:
                self._loaded[artifact.id] = self._read(artifact)
                if len(self._loaded) > WARM_MODELS:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(artifact.id)
            return self._loaded[artifact.id]

    def config(self, artifact: Artifact) -> dict[str, Any]:
        """The model's config, with the recipe its training images went through."""
        config: dict[str, Any] = self._artifacts.manifest(artifact)["config"]
        return config

    def _read(self, artifact: Artifact) -> "TrainedNetwork":
        import numpy as np

        from services.classifier.inference import load_network, predict
        from services.classifier.jobs import WEIGHTS_OBJECT

        manifest = self._artifacts.manifest(artifact)
        trained = load_network(manifest["config"], self._objects.get_blob(manifest["objects"][WEIGHTS_OBJECT]))
        size_px = trained.config.size_px
        predict(trained, np.zeros((1, size_px, size_px), np.uint8), batch_size=1)
        return trained


@lru_cache
def warm_models() -> WarmModels:
    """The warm models of this process."""
    return WarmModels(get_artifacts(), get_objects())


def classify(models: WarmModels, owner: str, data: bytes, model_id: str | None, *, explain: bool) -> dict[str, Any]:
    """The class of one image, the probability of each, and what to be careful about.

    The image goes through the recipe that the model's training images went through.

    Args:
        models: the warm models.
        owner: whose models may be used.
        data: the uploaded file.
        model_id: None takes the owner's newest classifier.
        explain: adds a heat map of the parts of the image that speak for the class.

    Raises:
        ModelNotFound: see `WarmModels.choose`.
        InvalidInput, UnsupportedType, TooLarge: the file is not an image that can be used.
    """
    from services.classifier.inference import predict
    from services.preprocess.pipeline import prepare_image

    artifact = models.choose(owner, model_id)
    config = models.config(artifact)
    recipe = config["recipe"] or {**UNPREPARED, "size_px": config["size_px"]}
    settings = get_settings()
    image_u8 = prepare_image(data, recipe, max_pixels=settings.image_max_pixels, min_side_px=settings.image_min_side_px)
    trained = models.load(artifact)
    probabilities = predict(trained, image_u8[None], batch_size=1)[0]
    best = int(probabilities.argmax())
    answer: dict[str, Any] = {
        "class": str(CLASS_ORDER[best]),
        "probabilities": {str(name): float(p) for name, p in zip(CLASS_ORDER, probabilities, strict=True)},
        "model": artifact.id,
        "warnings": _warnings(data, image_u8, float(probabilities[best])),
    }
    if explain:
        from services.classifier.explain import draw_heat_map
        from services.classifier.explain import explain as explain_answer

        png = draw_heat_map(image_u8, explain_answer(trained, image_u8, best))
        answer["heat_map"] = "data:image/png;base64," + base64.b64encode(png).decode()
    return answer


def _warnings(data: bytes, image_u8: "NDArray[np.uint8]", confidence: float) -> list[str]:
    warnings = []
    if has_colour(data):
        warnings.append("The colour image was converted to gray; MRI slices are gray.")
    if float(image_u8.std()) < 5.0:
        warnings.append("The image has almost no contrast; it may not show a brain.")
    if confidence < LOW_CONFIDENCE:
        warnings.append(f"Low confidence: the most probable class has only {confidence:.0%}.")
    return [*warnings, NOT_A_DEVICE]


def has_colour(data: bytes) -> bool:
    """Whether any pixel's channels differ, looked for at an eighth of the size."""
    import cv2
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as header:
            if header.mode in ("1", "L", "I;16", "I", "F"):
                return False
    except UnidentifiedImageError:  # DICOM and NIfTI, which were read before this is asked
        return False
    small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
    return small is not None and bool((small != small[..., :1]).any())
