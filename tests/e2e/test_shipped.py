"""A team that has trained nothing gets MRIs of every class from the model that comes with the platform."""

import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.client import SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform, made

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
LIMIT_S = 60.0
"""Seconds that eight images may take on two cores."""


@pytest.fixture(scope="module")
def newcomer(platform: EmbeddedPlatform) -> Iterator[SynthMRI]:
    """A client of a team of its own."""
    key = platform.keys("create", "--name", "new", "--owner", "newcomers")
    with SynthMRI(platform.base_url, key.strip()) as opened:
        yield opened


@pytest.mark.parametrize("tumour_class", CLASSES)
def test_eight_images_of_a_class_without_training(newcomer: SynthMRI, tmp_path: Path, tumour_class: str) -> None:
    started = time.monotonic()
    drawn = made(newcomer.wait(newcomer.generate(tumour_class, 8, seed=1)["id"]), "image_set")
    seconds = time.monotonic() - started
    print(f"eight images of {tumour_class}: {seconds:.1f} s")
    assert seconds < LIMIT_S
    newcomer.download_archive(drawn, tmp_path / "drawn.zip")
    with zipfile.ZipFile(tmp_path / "drawn.zip") as archive:
        files = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
    images = [np.asarray(Image.open(io.BytesIO(data))) for data in files]
    assert [image.shape for image in images] == [(128, 128)] * 8
    assert len(set(files)) == 8
    assert all(image[32:96, 32:96].mean() > 40 for image in images), "no head in the middle"


def test_its_card_is_for_everyone_to_read(newcomer: SynthMRI) -> None:
    (model,) = newcomer.models(kind="diffusion")["items"]
    card = newcomer.model(model["id"])["card"]
    assert card["curves"]["loss"]
    assert "diagnosis" in card["intended_use"]
