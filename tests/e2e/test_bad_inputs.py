"""Bad input of every kind: a problem document with a code and a sentence, and nothing left behind."""

import io
import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from shared.client import SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform
from tests.support.scan_files import dicom_file, nifti_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def picture(side_px: int = 64, kind: str = "PNG", seed: int = 0) -> bytes:
    """A gray image of noise."""
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side_px, side_px), np.uint8)).save(out, kind)
    return out.getvalue()


def zip_of(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def zip_with_symlink() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        link = zipfile.ZipInfo("glioma/link.png")
        link.create_system = 3
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


def png_bomb() -> bytes:
    """A PNG header that promises 40,000 x 40,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(5001 * 40_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def nan_volume() -> bytes:
    return nifti_file(np.full((20, 20, 20), np.nan, np.float32))


UPLOADS: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip slip": (lambda: zip_of({"../../evil.png": picture()}), "path_escapes"),
    "absolute path": (lambda: zip_of({"/etc/evil.png": picture()}), "path_absolute"),
    "backslash": (lambda: zip_of({"glioma\\a.png": picture()}), "path_has_backslash"),
    "symlink": (zip_with_symlink, "zip_has_symlink"),
    "nested zip": (lambda: zip_of({"glioma/inner.zip": zip_of({"glioma/a.png": picture()})}), "zip_nested"),
    "empty zip": (lambda: zip_of({}), "empty_upload"),
    "zip bomb": (lambda: zip_of({"glioma/a.png": bytes(90_000_000)}), "zip_ratio_too_high"),
    "huge entry": (lambda: zip_of({"glioma/a.png": bytes(200_000_000)}), "image_file_too_large"),
    "truncated zip": (lambda: zip_of({"glioma/a.png": picture()})[:-40], "zip_truncated"),
    "wrong class": (lambda: zip_of({"Training/oligodendroglioma/a.png": picture()}), "unknown_class_folder"),
    "no class": (lambda: zip_of({"a.png": picture()}), "layout_invalid"),
    "twins by case": (
        lambda: zip_of({"glioma/a.png": picture(), "glioma/A.png": picture(seed=1)}),
        "names_collide",
    ),
    "not an image": (lambda: zip_of({"glioma/a.png": b"patient,age\nanon,51\n"}), "image_type_unsupported"),
    "truncated jpeg": (lambda: zip_of({"glioma/a.jpg": picture(256, "JPEG")[:4000]}), "image_truncated"),
    "one pixel": (lambda: zip_of({"glioma/a.png": picture(1)}), "image_too_small"),
    "pixel bomb": (lambda: zip_of({"glioma/a.png": png_bomb()}, zipfile.ZIP_STORED), "image_too_many_pixels"),
    "empty file": (lambda: zip_of({"glioma/a.png": b""}), "image_file_empty"),
    "csv": (lambda: zip_of({"glioma/list.csv": b"patient,age\nanon,51\n"}), "image_type_unsupported"),
    "DICOM of many frames": (lambda: zip_of({"glioma/a.dcm": dicom_file(NumberOfFrames=20)}), "dicom_has_frames"),
    "truncated DICOM": (lambda: zip_of({"glioma/a.dcm": dicom_file()[:-2000]}), "scan_truncated"),
    "NIfTI of NaN": (lambda: zip_of({"glioma/a.nii.gz": nan_volume()}), "scan_not_finite"),
    "svg": (lambda: zip_of({"glioma/a.svg": b"<svg onload='alert(1)'/>"}), "image_type_unsupported"),
}

REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "wrong class": ("POST", "/generate?class=sarcoma&n=1", {}, 422, "invalid_request"),
    "n is 0": ("POST", "/generate?class=glioma&n=0", {}, 422, "invalid_request"),
    "n is not a number": ("POST", "/generate?class=glioma&n=many", {}, 422, "invalid_request"),
    "n above the limit": ("POST", "/generate?class=glioma&n=1000000", {}, 422, "too_many_images"),
    "steps above the schedule": ("POST", "/generate?class=glioma&n=1&steps=5000", {}, 422, "invalid_request"),
    "unknown sampler": ("POST", "/generate?class=glioma&n=1&sampler=magic", {}, 422, "invalid_request"),
    "unknown parameter": ("POST", "/generate?class=glioma&n=1&stpes=5", {}, 422, "invalid_request"),
    "unknown model": ("POST", "/generate?class=glioma&n=1&model=mdl-nothing", {}, 404, "model_not_found"),
    "unknown set": ("POST", "/preprocess", {"json": {"image_set": "set-nothing"}}, 404, "image_set_not_found"),
    "unknown recipe": (
        "POST",
        "/preprocess",
        {"json": {"image_set": "set-nothing", "recipe": "magic"}},
        422,
        "",
    ),
    "unknown job": ("GET", "/jobs/job-nothing", {}, 404, "job_not_found"),
    "unknown report": ("GET", "/reports/rep-nothing", {}, 404, "report_not_found"),
    "unknown route": ("GET", "/no/such/thing", {}, 404, "no_such_route"),
    "wrong method": ("PUT", "/generate", {}, 405, "method_not_allowed"),
    "bad json": (
        "POST",
        "/preprocess",
        {"content": b'{"image_set": ', "headers": {"Content-Type": "application/json"}},
        422,
        "invalid_request",
    ),
    "NaN in json": (
        "POST",
        "/models/diffusion",
        {
            "content": b'{"image_set": "set-x", "class": "glioma", "learning_rate": NaN}',
            "headers": {"Content-Type": "application/json"},
        },
        422,
        "invalid_request",
    ),
    "cursor of another list": ("GET", "/jobs?cursor=abc", {}, 422, "cursor_invalid"),
    "classify without a file": ("POST", "/classify", {}, 422, "invalid_request"),
    "weights from nowhere": ("POST", "/weights/nothing", {}, 404, ""),
}


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def http(platform: EmbeddedPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=platform.base_url, headers={"Authorization": f"Bearer {platform.api_key}"}, timeout=60
    ) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_left_behind(platform: EmbeddedPlatform, client: SynthMRI, prepared: str) -> Iterator[None]:
    """No artifact, no job, no object and no temporary file more than before."""

    def state() -> tuple[list[str], list[str], set[str], set[str]]:
        sets = [item["id"] for item in client.image_sets(limit=200)["items"]]
        jobs = [job["id"] for job in client.jobs(limit=200)["items"]]
        return sets, jobs, files_below(platform.data_dir / "s3"), files_below(platform.data_dir / "tmp")

    before = state()
    yield
    assert state() == before


def assert_problem(answer: httpx.Response, status: int | None, code: str) -> None:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text[:500]
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert status is None or answer.status_code == status, problem
    assert not code or problem["code"] == code, problem
    assert problem["detail"].rstrip().endswith((".", "!")) or len(problem["detail"]) > 20
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("case", UPLOADS)
def test_a_bad_upload_is_refused_by_name(http: httpx.Client, case: str) -> None:
    make, code = UPLOADS[case]
    answer = http.post("/image-sets?name=bad", files={"file": ("bad.zip", make(), "application/zip")})
    assert answer.status_code in (413, 415, 422)
    assert_problem(answer, None, code)


@pytest.mark.parametrize("case", REQUESTS)
def test_a_bad_request_is_refused_by_name(http: httpx.Client, case: str) -> None:
    method, path, options, status, code = REQUESTS[case]
    assert_problem(http.request(method, path, **options), status, code)


def test_one_bad_file_among_good_ones_is_named(http: httpx.Client) -> None:
    answer = http.post(
        "/image-sets?name=bad",
        files={"file": ("b.zip", zip_of({"glioma/good.png": picture(), "glioma/bad.png": b"nothing"}))},
    )
    assert_problem(answer, None, "")
    assert "glioma/bad.png" in answer.text
    assert "glioma/good.png" not in answer.text


@pytest.mark.parametrize("key", ["", "smri_wrong", "Basic abc"])
def test_a_missing_or_wrong_key_is_401_before_the_body_is_read(platform: EmbeddedPlatform, key: str) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1_000_000)

    headers = {"Content-Type": "application/zip", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        answer = httpx.post(f"{platform.base_url}/image-sets?name=x", headers=headers, content=body(), timeout=60)
    except httpx.WriteError:
        return  # the gateway answered and closed before the body was sent
    assert_problem(answer, 401, "")


def test_a_revoked_key_and_a_key_without_the_scope(platform: EmbeddedPlatform) -> None:
    made = platform.keys("create", "--name", "reader", "--scopes", "read")
    key = re.search(r"smri_\w+", made)[0]
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{platform.base_url}/jobs", headers=headers, timeout=60).status_code == 200
    refused = httpx.post(f"{platform.base_url}/generate?class=glioma&n=1", headers=headers, timeout=60)
    assert_problem(refused, 403, "")
    platform.keys("revoke", key.split("_")[1])
    assert_problem(httpx.get(f"{platform.base_url}/jobs", headers=headers, timeout=60), 401, "")


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"not an image at all", 422, "unreadable_image"),
        (picture(256, "JPEG")[:3000], 422, "truncated_image"),
        (picture(1), 422, "image_too_small"),
        (b"", 422, "unreadable_image"),
        (png_bomb(), 413, "image_too_large"),
        (dicom_file(NumberOfFrames=20), 422, "dicom_has_frames"),
        (nan_volume(), 415, "unsupported_image"),
    ],
    ids=["text", "truncated", "one pixel", "empty", "bomb", "frames", "volume"],
)
def test_classify_refuses_what_is_not_an_mri(
    http: httpx.Client, classifier: str, data: bytes, status: int, code: str
) -> None:
    answer = http.post(f"/classify?model={classifier}", files={"file": ("mri.jpg", data, "image/jpeg")})
    assert_problem(answer, status, code)


def test_errors_are_documented(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert json.dumps(document).count("application/problem+json") > 5
    for path in (
        "/generate",
        "/preprocess",
        "/models/diffusion",
        "/models/classifier",
        "/classify",
        "/evaluate",
        "/scenarios",
    ):
        assert "post" in document["paths"][path], path
