"""The study's images as an audit sees them: prepared from the raw set in memory, nothing is kept on disk."""

import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from services.evaluator.audit.images import AuditImages, FileFacts, read_file_facts
from services.preprocess.draws import Draw
from services.preprocess.pipeline import encode_image, prepare_pixels
from services.preprocess.plane_features import plane_features
from services.preprocess.planes import assign_planes
from services.preprocess.reading import read_gray
from services.preprocess.recipe import Recipe

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
STUDY = Recipe.parse("study")


@dataclass(frozen=True)
class StudyImages:
    """By class: 3,207 Training and 1,024 Testing images as the study prepared them, and its 2,400 synthetic ones."""

    training: dict[str, AuditImages]
    testing: dict[str, AuditImages]
    synthetic: dict[str, AuditImages]


@contextmanager
def on_one_core() -> Iterator[None]:
    n_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(n_threads)


def decode(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def prepare(row: dict[str, str], root: Path) -> tuple[NDArray[np.uint8], FileFacts]:
    """One image as the study stored it, JPEG artefacts of its quality 95 included."""
    path = root / row["split"] / row["class"] / f"{row['image_id']}.jpg"
    pixels = read_gray(path.read_bytes()).pixels_u8
    prepared = prepare_pixels(pixels, STUDY, Draw(int(row["rotation_deg"])), row["class"])
    data = encode_image(prepared.pixels_u8, STUDY)
    facts = vars(read_file_facts(data)) | {"native_width": pixels.shape[1], "native_height": pixels.shape[0]}
    return decode(data), FileFacts(**facts)


@pytest.fixture(scope="session")
def study_prepared(data_dir: Path) -> StudyImages:
    """Planes are not in the study's list: `assign_planes` finds them from the 297 labelled Training images."""
    reference = data_dir.parent / "reference"
    with (reference / "study_selection.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (reference / "planes_sample.csv").open() as file:
        labels = {row["image_id"]: row["plane"] for row in csv.DictReader(file)}
    with on_one_core():
        with ThreadPoolExecutor(2) as pool:
            prepared = list(pool.map(lambda row: prepare(row, data_dir / "brain-tumor-mri"), rows))
        training = [k for k, row in enumerate(rows) if row["split"] == "Training"]
        features = np.array([plane_features(prepared[k][0]) for k in training])
        known = {at: labels[name] for at, k in enumerate(training) if (name := rows[k]["image_id"]) in labels}
        found = assign_planes(features, known).assignments
        planes = {k: item.plane for k, item in zip(training, found, strict=True)}

    def gather(split: str, tumour_class: str) -> AuditImages:
        at = [k for k, row in enumerate(rows) if (row["split"], row["class"]) == (split, tumour_class)]
        images_u8 = np.array([prepared[k][0] for k in at])
        names = [rows[k]["image_id"] for k in at]
        return AuditImages(names, images_u8, [prepared[k][1] for k in at], [planes.get(k) for k in at])

    return StudyImages(
        {c: gather("Training", c) for c in CLASSES},
        {c: gather("Testing", c) for c in CLASSES},
        {c: read_synthetic(data_dir / "ddpm-study-2400" / c) for c in CLASSES},
    )


def read_synthetic(folder: Path) -> AuditImages:
    paths = sorted(folder.glob("*.jpg"))
    files = [path.read_bytes() for path in paths]
    facts = [read_file_facts(data) for data in files]
    return AuditImages([p.name for p in paths], np.array([decode(data) for data in files]), facts, [None] * len(paths))


PNG = FileFacts("PNG", "L", 64, 64, 1000)


def make_images(images_u8: NDArray[np.uint8], stem: str = "image", files: FileFacts = PNG) -> AuditImages:
    n = len(images_u8)
    return AuditImages([f"{stem}_{k}.png" for k in range(n)], images_u8, [files] * n, [None] * n)


def draw_heads(n: int, seed: int, size_px: int = 64) -> NDArray[np.uint8]:
    """(n, size_px, size_px) uint8: bright ellipses on black with random blobs inside, more of them on the left."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size_px, :size_px] / size_px - 0.5
    images = np.zeros((n, size_px, size_px))
    for image in images:
        height, width = rng.uniform(0.3, 0.42, 2)
        inside = (rows / height) ** 2 + (columns / width) ** 2 < 1
        image[inside] = 90
        for _ in range(12):
            y, x = rng.uniform(-0.25, 0.25), rng.uniform(-0.28, 0.12)
            radius = rng.uniform(0.02, 0.08)
            image += inside * rng.uniform(-60, 110) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / radius**2)
    return np.clip(images + rng.normal(0, 3, images.shape), 0, 255).astype(np.uint8)
