"""Radiomics features of the study's 600 synthetic gliomas: seconds per image, and the distance beside its floor."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest

from services.evaluator.features.extraction import ImageFeatures
from services.evaluator.features.radiomics import COMMAND, FEATURE_NAMES, RadiomicsExtractor
from services.evaluator.features.reading import read_gray
from services.evaluator.metrics.assessment import Floor, Metric, assess
from services.evaluator.metrics.scopes import Sides
from services.evaluator.metrics.standardisation import standardise_sides
from shared.progress import NoProgress
from tests.services.evaluator.audit.conftest import on_one_core, prepare

pytestmark = [pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(900)]
METRICS = [Metric.FID, Metric.KID, Metric.PRECISION, Metric.RECALL, Metric.DENSITY, Metric.COVERAGE]


def test_the_studys_gliomas_by_radiomics(data_dir: Path, table: list[tuple[str, str, str]]) -> None:
    pytest.importorskip("flash_radiomics", reason=COMMAND)
    extractor = RadiomicsExtractor()
    with (data_dir.parent / "reference" / "study_selection.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["class"] == "glioma"]
    synthetic = sorted((data_dir / "ddpm-study-2400" / "glioma").glob("*.jpg"))
    with on_one_core():
        images = [read_gray(path.read_bytes(), path.name, (256, 256)) for path in synthetic]
        prepared = {s: [r for r in rows if r["split"] == s] for s in ("Training", "Testing")}
        real = {s: [prepare(r, data_dir / "brain-tumor-mri")[0] for r in some] for s, some in prepared.items()}
    began = time.process_time()
    found = [measure(extractor, group) for group in (images, real["Training"], real["Testing"])]
    seconds = (time.process_time() - began) / sum(len(side.features) for side in found)
    table.append(("radiomics features of one image of 256 x 256 px", f"{1000 * seconds:.0f} ms", "100 ms"))
    scaled, left_out = standardise_sides(Sides(*found), FEATURE_NAMES)
    assert scaled.other_real is not None
    floor = Floor(scaled.other_real, scaled.real, "real Testing against real Training")
    options = {"metrics": METRICS, "feature_space": "radiomics", "seed": 0, "progress": NoProgress()}
    entries = {entry["metric"]: entry for entry in assess(scaled.synthetic, scaled.real, floor, **options)}
    for entry in entries.values():
        what = f"{entry['label']}: {len(images)} synthetic gliomas against {len(real['Training'])} real ones"
        table.append((what, f"{text_of(entry)}; real {text_of(entry['real'])}", "outside the floor"))
    table.append(("features left out, constant among the real gliomas", ", ".join(left_out) or "none", ""))
    assert seconds < 0.3
    assert entries["fid"]["interval"]["low"] > entries["fid"]["real"]["interval"]["high"]


def measure(extractor: RadiomicsExtractor, images: list[np.ndarray]) -> ImageFeatures:
    return extractor.extract_batch(np.stack(images))


def text_of(entry: dict) -> str:
    return f"{entry['value']:.4g} [{entry['interval']['low']:.4g}, {entry['interval']['high']:.4g}]"
