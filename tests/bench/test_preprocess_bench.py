"""Preprocessing against a bare loop: one image at a time, and the whole data set through the platform."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.client import SynthMRI
from tests.bench.timing import fastest_s
from tests.e2e.embedded_platform import EmbeddedPlatform, make_platform, remove_platform

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Table = list[tuple[str, str, str]]


def test_preprocess_against_a_bare_loop(files: list[bytes], table: Table) -> None:
    from services.preprocess.pipeline import encode_image, prepare_pixels
    from services.preprocess.reading import read_gray
    from services.preprocess.recipe import Recipe

    recipe = Recipe.parse("rigorous")
    cv2.setNumThreads(1)

    def bare(data: bytes) -> None:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        equal = cv2.createCLAHE(2.0, (8, 8)).apply(pixels)
        cv2.imencode(".png", cv2.resize(equal, (256, 256), interpolation=cv2.INTER_AREA))

    def ours(data: bytes) -> None:
        encode_image(prepare_pixels(read_gray(data).pixels_u8, recipe).pixels_u8, recipe)

    with ThreadPoolExecutor(2) as pool:
        ratio = fastest_s(lambda: list(pool.map(ours, files))) / fastest_s(lambda: list(pool.map(bare, files)))
    table.append(("preprocess one image, against a bare decode-CLAHE-resize-encode", f"{ratio:.2f} x", "1.5 x"))
    assert ratio < 3


@pytest.mark.data
def test_the_whole_data_set_against_a_bare_loop(data_dir: Path, table: Table, tmp_path: Path) -> None:
    """7,023 images over HTTP, from the first shard to the report, against the loop a script would have."""
    folder = data_dir / "brain-tumor-mri"
    platform = make_platform(SYNTHMRI_RATE_LIMIT_PER_MINUTE="0")
    try:
        platform.up()
        with platform.client() as client:
            raw = client.upload(folder, name="all")["id"]
            for recipe in ("study", "rigorous"):
                bare_s = bare_loop(folder, tmp_path / recipe)
                seconds = run_job(client, raw, recipe)
                ratio = f"{seconds / bare_s:.2f} x ({seconds:.0f} s against {bare_s:.0f} s)"
                table.append((f"preprocess 7,023 images by `{recipe}`, against a bare loop", ratio, "1.5 x"))
                assert seconds / bare_s < 3
        table.append(("peak memory of a preprocessing worker, of both recipes", f"{peak_mib(platform):.0f} MiB", ""))
    finally:
        remove_platform(platform)


def bare_loop(folder: Path, target: Path) -> float:
    """Seconds to decode, rotate (half of the images), equalise, resize and encode every image on two threads."""
    from scipy import ndimage

    target.mkdir()
    cv2.setNumThreads(1)
    paths = sorted(folder.glob("*/*/*.*"))
    chance = random.Random(0)
    angles = [chance.randint(-10, 9) if chance.random() < 0.5 else 0 for _ in paths]

    def prepare(path: Path, angle: int) -> None:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        if angle:
            pixels = ndimage.rotate(pixels, angle, reshape=False)
        small = cv2.resize(cv2.createCLAHE(2.0, (8, 8)).apply(pixels), (256, 256))
        (target / f"{path.stem}.jpg").write_bytes(cv2.imencode(".jpg", small)[1].tobytes())

    began = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(prepare, paths, angles))
    return time.perf_counter() - began


def run_job(client: SynthMRI, raw: str, recipe: str) -> float:
    """Seconds from the request to the job's end."""
    began = time.perf_counter()
    job = client.wait(client.preprocess(raw, recipe)["id"])
    assert job["status"] == "succeeded", job["error"]
    return time.perf_counter() - began


def peak_mib(platform: EmbeddedPlatform) -> float:
    """The most memory that any preprocessing worker ever had (VmHWM), MiB."""
    workers = [p for p in platform.status()["processes"] if p["name"].startswith("preprocess-worker")]
    statuses = [Path(f"/proc/{worker['pid']}/status").read_text() for worker in workers]
    return max(float(status.split("VmHWM:")[1].split()[0]) / 1024 for status in statuses)
