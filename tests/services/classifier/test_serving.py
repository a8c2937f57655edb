"""Classifying one image: the limits on images are the platform's."""

import cv2
import numpy as np
import pytest

from services.classifier import serving
from services.preprocess.reading import ImageTooLarge, ImageTooSmall
from shared.artifacts.store import Artifact
from shared.errors import SynthMRIError
from shared.settings import Settings
from tests.support.scan_files import dicom_file

MODEL = Artifact("mdl-1", "model", "classifier", "mine", "team-a", None, None, "", {}, 0.0)


class OneModel(serving.WarmModels):
    """Has one model, which refused images never reach."""

    def __init__(self) -> None:
        """Needs no store."""

    def choose(self, owner: str, model_id: str | None) -> Artifact:
        return MODEL

    def config(self, artifact: Artifact) -> dict[str, object]:
        return {"recipe": None, "size_px": 32}


@pytest.mark.parametrize(
    ("limits", "error"),
    [({"image_max_pixels": 40 * 40 - 1}, ImageTooLarge), ({"image_min_side_px": 41}, ImageTooSmall)],
)
def test_an_image_beyond_the_limits_of_the_settings_is_refused(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], error: type[SynthMRIError]
) -> None:
    settings = Settings(environment="development", **limits)
    monkeypatch.setattr(serving, "get_settings", lambda: settings)
    data = cv2.imencode(".png", np.zeros((40, 40), np.uint8))[1].tobytes()
    with pytest.raises(error):
        serving.classify(OneModel(), "team-a", data, None, explain=False)


def test_a_dicom_slice_is_not_asked_for_its_colour_as_a_picture() -> None:
    assert not serving.has_colour(dicom_file())
