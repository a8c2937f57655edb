"""The job from the HTTP edge to its two artifacts, on a real database, object store and Redis."""

import asyncio
import io
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from services.preprocess.draws import Draw
from services.preprocess.jobs import run_stage
from services.preprocess.outcome import finish_preprocessing
from services.preprocess.pipeline import prepare_image, prepare_pixels
from services.preprocess.reading import read_gray
from services.preprocess.recipe import Recipe
from services.preprocess.settings import get_preprocess_settings
from shared.app import INTERNAL_TOKEN, OWNER
from shared.artifacts.annotations import correct_images
from shared.artifacts.garbage import collect_garbage
from shared.artifacts.store import DraftArtifact
from shared.jobs.runner import run_shard
from shared.jobs.store import NewJob
from shared.progress import Stopping

pytestmark = pytest.mark.services


@pytest.fixture
def database_url(tmp_path):
    """SQLite alone: what differs between databases is proved in tests/shared/jobs."""
    return f"sqlite:///{tmp_path / 'synthmri.db'}"


class Client:
    """POSTs to the service's app in this process, as the gateway does over the wire."""

    def __init__(self, app: Any, headers: dict[str, str]) -> None:
        self._app, self._headers = app, headers

    def post(self, url: str, json: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://preprocess") as client:
                return await client.post(url, json=json, headers={**self._headers, **(headers or {})})

        return asyncio.run(send())

    def upload(self, url: str, data: bytes) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://preprocess") as client:
                return await client.post(url, files={"file": ("slice.png", data)}, headers=self._headers)

        return asyncio.run(send())


def png(seed, shape=(64, 64)):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    "Training/glioma/a.png": png(0),
    "Training/glioma/b.png": png(0),
    "Training/notumor/c.png": png(1, (60, 64)),
    "Training/notumor/d.png": png(2, (30, 64)),
    "Testing/glioma/e.png": png(0),
    "Testing/notumor/f.png": png(3),
    "Testing/notumor/broken.png": png(4)[:60],
}


@pytest.fixture
def upload(artifacts, objects):
    def store(files, kind="raw", parameters=None):
        images = []
        for name, data in files.items():
            *split, tumour_class, _ = name.split("/")
            facts = {
                "name": name,
                "split": split[0] if split else None,
                "class": tumour_class,
                "plane": "axial",
                "sha256": objects.put_blob(data),
            }
            images.append(
                {**facts, "width": 64, "height": 64, "source": None, "parameters": (parameters or {}).get(name, {})}
            )
        return artifacts.create(DraftArtifact("image_set", kind, "ours", {"images": images}), owner="team").id

    return store


@pytest.fixture
def client(artifacts, settings, monkeypatch):
    monkeypatch.setenv("SYNTHMRI_PREPROCESS_SHARD_SIZE", "3")
    get_preprocess_settings.cache_clear()
    from services.preprocess.api import app

    yield Client(app, {INTERNAL_TOKEN: settings.internal_token, OWNER: "team"})
    get_preprocess_settings.cache_clear()


def work_off(jobs, job_id):
    """Run each queued shard here, stage after stage, as workers would; the last one runs the finishing step too."""
    while queued := jobs.queued_shards(job_id):
        if jobs.get(job_id, "team")["status"] not in ("queued", "running"):
            break
        run_shard(job_id, queued[0], work=run_stage, finish=finish_preprocessing)
    return jobs.get(job_id, "team")


def made(job, artifacts):
    """The preprocessed set's manifest and the report's."""
    found = {entry["kind"]: entry["id"] for entry in job["artifacts"]}
    return tuple(artifacts.manifest(artifacts.get(found[kind], "team")) for kind in ("preprocessed", "analysis"))


def run(client, jobs, artifacts, **body):
    answer = client.post("/preprocess", json={"max_unreadable_share": 0.5, **body})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/jobs/{answer.json()['id']}"
    job = work_off(jobs, answer.json()["id"])
    assert job["status"] == "succeeded", job["error"]
    assert job["progress"]["done"] == job["progress"]["total"]
    assert job["progress"]["unit"] == "image pass"
    return made(job, artifacts)


def test_rigorous_is_the_default_and_accounts_for_every_image(client, jobs, artifacts, objects, upload):
    raw = upload(FILES)
    image_set, report = run(client, jobs, artifacts, image_set=raw)
    assert [image["name"] for image in image_set["images"]] == [
        "Training/glioma/a.png",
        "Training/notumor/c.png",
        "Training/notumor/d.png",
        "Testing/notumor/f.png",
    ]
    assert image_set["recipe"]["name"] == "rigorous"
    assert image_set["parents"] == report["parents"] == [raw]
    assert {drop["name"]: drop["reason"] for drop in report["report"]["dropped"]} == {
        "Training/glioma/b.png": "duplicate",
        "Testing/glioma/e.png": "in_training",
        "Testing/notumor/broken.png": "truncated_image",
    }
    for image in image_set["images"]:
        assert image["plane"] == "axial"
        stored = read_gray(objects.get_blob(image["sha256"])).pixels_u8
        np.testing.assert_array_equal(stored, prepare_image(FILES[image["source"]], image_set["recipe"]))
    assert {"chart.png", "table.csv", "report.html"} < set(report["objects"])
    assert all(objects.has_blob(sha256) for sha256 in report["objects"].values())


def test_study_drops_by_its_own_rules_and_stores_jpeg(client, jobs, artifacts, upload):
    image_set, report = run(client, jobs, artifacts, image_set=upload(FILES), recipe="study", name="as published")
    names = [image["name"] for image in image_set["images"]]
    assert names == [
        f"{stem}.jpg" for stem in ("Training/glioma/a", "Training/notumor/c", "Testing/glioma/e", "Testing/notumor/f")
    ]
    assert image_set["name"] == "as published"
    assert report["report"]["drop_reasons"] == {"duplicate": 1, "not_square": 1, "truncated_image": 1}


def test_same_set_and_recipe_give_the_same_hashes(client, jobs, artifacts, upload):
    raw, recipe = upload(FILES), {"size_px": 32, "clahe": None}
    first, second = (run(client, jobs, artifacts, image_set=raw, recipe=recipe) for _ in range(2))
    assert first[0]["images"] == second[0]["images"]
    assert first[1]["objects"] == second[1]["objects"]


def test_too_many_unreadable_files_fail_the_job_and_leave_nothing(client, jobs, artifacts, upload):
    answer = client.post("/preprocess", json={"image_set": upload(FILES)})
    job = work_off(jobs, answer.json()["id"])
    assert job["status"] == "failed"
    assert job["error"]["code"] == "too_many_unreadable"
    assert "broken.png" in job["error"]["detail"]
    assert artifacts.list("team", "report")[0] == []


def test_a_recipe_that_drops_everything_fails_with_a_sentence(client, jobs, artifacts, upload):
    raw = upload({"Training/glioma/wide.png": png(1, (30, 64))})
    job = work_off(jobs, client.post("/preprocess", json={"image_set": raw, "recipe": "study"}).json()["id"])
    assert job["error"]["code"] == "no_images_left"


def test_a_cancel_between_two_images_stops_the_shard(client, jobs, artifacts, upload, monkeypatch):
    """The job is cancelled when the first image is asked for; the rest of the shard is not stored."""
    monkeypatch.setenv("SYNTHMRI_PREPROCESS_SHARD_SIZE", "200")
    monkeypatch.setenv("SYNTHMRI_PREPROCESS_THREADS", "1")
    get_preprocess_settings.cache_clear()
    raw = upload({f"Training/glioma/{index}.png": png(index) for index in range(200)})
    job_id = client.post("/preprocess", json={"image_set": raw}).json()["id"]
    n_prepared = 0

    def work(execution):
        def cancel_then_read(sha256):
            nonlocal n_prepared
            if n_prepared == 0:
                jobs.cancel(job_id, "team")
            n_prepared += 1
            return execution.objects.get_blob(sha256)

        objects = SimpleNamespace(get_blob=cancel_then_read, put_blob=execution.objects.put_blob)
        return run_stage(replace(execution, objects=objects))

    run_shard(job_id, 0, work=work, finish=finish_preprocessing)
    assert jobs.get(job_id, "team")["status"] == "cancelled"
    assert n_prepared < 100
    assert artifacts.list("team", "report")[0] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"image_set": "set-unknown"}, 404, "image_set_not_found"),
        ({"image_set": "RAW", "recipe": "best"}, 422, "invalid_request"),
        ({"image_set": "RAW", "recipe": {"size_px": 4}}, 422, "invalid_request"),
        ({"image_set": "RAW", "recipe": {"rotate": True}}, 422, "invalid_request"),
        ({"image_set": "RAW", "rceipe": "study"}, 422, "invalid_request"),
        ({"image_set": "RAW", "name": "a\x00b"}, 422, "invalid_request"),
        ({"image_set": "RAW\x00"}, 422, "invalid_request"),
        ({"image_set": "RAW", "max_unreadable_share": 2}, 422, "invalid_request"),
        ({"image_set": "SYNTHETIC"}, 422, "not_a_raw_set"),
        ({"image_set": "EMPTY"}, 422, "empty_image_set"),
        ({"image_set": "RAW", "recipe": {"rotation": {"low_deg": 5, "high_deg": 1}}}, 422, "invalid_request"),
        ({"image_set": "RAW", "selection": [{"image": "nobody"}]}, 422, "images_not_in_set"),
        ({"image_set": "RAW", "selection": [{"image": "a"}, {"image": "a"}]}, 422, "ambiguous_image"),
        ({"image_set": "RAW", "selection": []}, 422, "invalid_request"),
        ({"image_set": "RAW", "exclude": ["nobody"]}, 422, "images_not_in_set"),
        ({"image_set": "RAW", "relabel": {"a": "cyst"}}, 422, "invalid_request"),
        ({"image_set": "RAW", "replay": "set-unknown"}, 404, "image_set_not_found"),
        ({"image_set": "RAW", "replay": "SYNTHETIC"}, 422, "not_a_prepared_set"),
        ({"image_set": "RAW", "replay": "SYNTHETIC", "recipe": "study"}, 422, "choose_recipe_or_replay"),
    ],
)
def test_bad_requests_are_refused_before_a_job_exists(client, jobs, upload, body, status, code):
    kept = {"RAW": lambda: upload(FILES), "SYNTHETIC": lambda: upload(FILES, "synthetic"), "EMPTY": lambda: upload({})}
    body = {key: kept[value]() if value in ("RAW", "SYNTHETIC", "EMPTY") else value for key, value in body.items()}
    answer = client.post("/preprocess", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]


def test_another_teams_set_is_not_found(client, upload):
    answer = client.post("/preprocess", json={"image_set": upload(FILES)}, headers={OWNER: "others"})
    assert answer.json()["code"] == "image_set_not_found"


def test_a_given_selection_is_followed_image_by_image(client, jobs, artifacts, objects, upload):
    """By file name or full name, in the order given, each with its own angle; the recipe's rules choose nothing."""
    rows = [
        {"image": "c", "rotation_deg": -7},
        {"image": "Training/glioma/b.png"},
        {"image": "e", "flip_vertical": True},
    ]
    raw = upload(FILES)
    image_set, report = run(client, jobs, artifacts, image_set=raw, recipe="study", selection=rows)
    assert [image["source"][-5:] for image in image_set["images"]] == ["c.png", "b.png", "e.png"]
    assert [image["parameters"]["rotation_deg"] for image in image_set["images"]] == [-7, 0, 0]
    source = read_gray(FILES["Training/notumor/c.png"]).pixels_u8
    turned = prepare_pixels(source, Recipe.parse("study"), Draw(-7)).pixels_u8
    stored = read_gray(objects.get_blob(image_set["images"][0]["sha256"])).pixels_u8
    assert np.abs(stored.astype(int) - turned).mean() < 3  # but for JPEG
    assert report["report"]["drop_reasons"] == {"not_selected": 3, "truncated_image": 1}


def test_a_replay_repeats_a_set_exactly(client, jobs, artifacts, upload):
    raw = upload(FILES)
    recipe = {"rotation": {"share": 1.0}, "histogram_matching": {}, "size_px": 32, "encoding": "jpeg95", "seed": 3}
    first, _ = run(client, jobs, artifacts, image_set=raw, recipe=recipe, relabel={"f": "pituitary"}, exclude=["d"])
    again, _ = run(client, jobs, artifacts, image_set=raw, replay=first["id"])
    assert again["images"] == first["images"]
    assert again["recipe"] == first["recipe"]
    assert any(image["parameters"]["rotation_deg"] for image in first["images"])
    moved = next(image for image in again["images"] if image["source"] == "Testing/notumor/f.png")
    assert (moved["name"], moved["class"]) == ("Testing/pituitary/f.jpg", "pituitary")


def test_equal_images_of_two_classes_stop_the_job_until_somebody_settles_it(client, jobs, artifacts, upload):
    raw = upload({"Training/glioma/a.png": png(0), "Training/notumor/b.png": png(0), "Training/glioma/c.png": png(1)})
    job = work_off(jobs, client.post("/preprocess", json={"image_set": raw}).json()["id"])
    assert job["error"]["code"] == "label_conflict"
    assert "Training/glioma/a.png = Training/notumor/b.png" in job["error"]["detail"]
    settled, _ = run(client, jobs, artifacts, image_set=raw, relabel={"b": "glioma"})
    assert [image["source"] for image in settled["images"]] == ["Training/glioma/a.png", "Training/glioma/c.png"]
    aside, _ = run(client, jobs, artifacts, image_set=raw, recipe={"label_conflicts": "set_aside"})
    assert [image["source"] for image in aside["images"]] == ["Training/glioma/c.png"]


def test_the_manifest_says_what_leaks_and_who_waived_it(client, jobs, artifacts, upload):
    raw = upload(FILES)
    rigorous, _ = run(client, jobs, artifacts, image_set=raw)
    clean = {"checked": True, "exact": 0, "near": 0, "groups": 0, "kept": 0, "waiver": None, "correlation": 0.985}
    assert rigorous["leakage"] == clean
    study, _ = run(client, jobs, artifacts, image_set=raw, recipe="study")
    assert (study["leakage"]["exact"], study["leakage"]["kept"]) == (1, 1)
    assert "study" in study["leakage"]["waiver"]
    careless, report = run(client, jobs, artifacts, image_set=raw, recipe={"duplicates": "none"})
    assert (careless["leakage"]["kept"], careless["leakage"]["waiver"]) == (1, None)
    assert report["report"]["duplicates"]["leaks"]["kept"]["exact"] == 1


def test_images_without_a_split_count_as_training(client, jobs, artifacts, upload):
    """They are trained on, so their copies in Testing leak."""
    raw = upload({"glioma/a.png": png(0), "Testing/glioma/b.png": png(0), "Testing/glioma/c.png": png(1)})
    rigorous, _ = run(client, jobs, artifacts, image_set=raw)
    assert [image["source"] for image in rigorous["images"]] == ["glioma/a.png", "Testing/glioma/c.png"]
    careless, _ = run(client, jobs, artifacts, image_set=raw, recipe={"duplicates": "none"})
    assert careless["leakage"]["kept"] == 1


def test_a_strict_rule_of_the_recipe_hides_no_leak(client, jobs, artifacts, upload):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(0))).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(buffer, "PNG")
    raw = upload({"Training/glioma/a.png": png(0), "Testing/glioma/b.png": buffer.getvalue()})
    strict = {"near_duplicates": {"correlation": 1.0, "mirrored": False}}
    image_set, _ = run(client, jobs, artifacts, image_set=raw, recipe=strict)
    assert (image_set["leakage"]["near"], image_set["leakage"]["kept"]) == (1, 1)
    rigorous, _ = run(client, jobs, artifacts, image_set=raw)
    assert [image["source"] for image in rigorous["images"]] == ["Training/glioma/a.png"]


def test_results_do_not_depend_on_the_size_of_a_shard(client, jobs, artifacts, upload, monkeypatch):
    raw = upload(FILES)
    recipe = {"rotation": {"share": 1.0}, "histogram_matching": {}, "size_px": 32}
    made_by = []
    for size in (1, 4, 100):
        monkeypatch.setenv("SYNTHMRI_PREPROCESS_SHARD_SIZE", str(size))
        get_preprocess_settings.cache_clear()
        made_by.append(run(client, jobs, artifacts, image_set=raw, recipe=recipe))
    assert made_by[0][0]["images"] == made_by[1][0]["images"] == made_by[2][0]["images"]
    assert made_by[0][1]["objects"] == made_by[1][1]["objects"] == made_by[2][1]["objects"]


def test_no_prepared_image_is_collected_while_the_job_waits(client, jobs, artifacts, objects, database, upload):
    """The worker is lost after preparing, and everything is older than the collector's patience when it comes back."""
    job_id = client.post("/preprocess", json={"image_set": upload(FILES), "max_unreadable_share": 0.5}).json()["id"]
    for _ in range(3):
        run_shard(job_id, jobs.queued_shards(job_id)[0], work=stop_before_figures, finish=finish_preprocessing)
    while (queued := jobs.queued_shards(job_id)) and not stop_before_figures.reached:
        run_shard(job_id, queued[0], work=stop_before_figures, finish=finish_preprocessing)
    collect_garbage(database, objects, artifacts, min_age_s=-1.0)
    image_set, _ = made(work_off(jobs, job_id), artifacts)
    assert all(objects.has_blob(image["sha256"]) for image in image_set["images"])


def stop_before_figures(execution):
    if execution.spec["stage"] == 3:
        stop_before_figures.reached = True
        raise Stopping
    return run_stage(execution)


stop_before_figures.reached = False


def test_what_cannot_be_followed_is_refused_by_name(client, jobs, artifacts, upload):
    raw = upload(FILES)
    first, _ = run(client, jobs, artifacts, image_set=raw)
    other = upload({**FILES, "Training/notumor/c.png": png(77, (60, 64))})
    answer = client.post("/preprocess", json={"image_set": other, "replay": first["id"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "source_changed")
    for recipe in (
        {"histogram_matching": {"references": {"pooled": [1.0]}}},
        {"bias_field": {"iterations": [0]}},
        {"balance": {"over": "plane"}, "planes": False},
        {"leakage_waiver": "   "},
        {"name": "a\n"},
    ):
        assert client.post("/preprocess", json={"image_set": raw, "recipe": recipe}).status_code == 422
    tested = upload({"Testing/glioma/a.png": png(0)})
    body = {"image_set": tested, "recipe": {"histogram_matching": {}}}
    assert work_off(jobs, client.post("/preprocess", json=body).json()["id"])["error"]["code"] == "no_reference"
    body = {"image_set": upload({"Training/glioma/a.png": b"no image"}), "max_unreadable_share": 1}
    assert work_off(jobs, client.post("/preprocess", json=body).json()["id"])["error"]["code"] == "no_images_left"


def test_a_selection_is_checked_for_conflicts_and_what_is_excluded(client, jobs, artifacts, upload):
    files = {"Training/glioma/a.png": png(0), "Training/notumor/b.png": png(0), "Training/glioma/c.png": png(1)}
    raw, rows = upload(files), [{"image": name} for name in "abc"]
    job = work_off(jobs, client.post("/preprocess", json={"image_set": raw, "selection": rows}).json()["id"])
    assert job["error"]["code"] == "label_conflict"
    settled, _ = run(client, jobs, artifacts, image_set=raw, selection=rows, exclude=["b"])
    assert [image["source"][-5:] for image in settled["images"]] == ["a.png", "c.png"]


def test_blank_images_are_no_copies_of_each_other(client, jobs, artifacts, upload):
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, "PNG")
    names = ("Training/glioma/a.png", "Training/notumor/b.png", "Testing/glioma/c.png")
    image_set, report = run(client, jobs, artifacts, image_set=upload(dict.fromkeys(names, buffer.getvalue())))
    assert len(image_set["images"]) == 3
    assert any("shows no brain" in w or "show no brain" in w for w in report["report"]["warnings"])


def test_the_slices_of_a_volume_are_no_copies_of_each_other(client, jobs, artifacts, upload):
    """Eight slices that differ little; in Testing two of them again, from a file of their own."""
    rng = np.random.default_rng(0)
    depth = np.cumsum(rng.normal(size=(10, 16, 16)), axis=0)[2:] + 20 * rng.normal(size=(16, 16))
    levels = np.clip(128 + 4 * depth, 0, 255).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    files, parameters = {}, {}
    for k, picture in enumerate(levels):
        name = f"Training/glioma/p1.nii.gz.axial-{k:03d}.png"
        parameters[name] = {"format": "NIFTI", "axis": "axial", "slice": k, "n_slices": 8}
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        files[name] = buffer.getvalue()
    copies = list(files.values())[2:4]
    files |= {"Testing/glioma/x.png": copies[0], "Testing/glioma/y.png": copies[1], "Testing/notumor/f.png": png(3)}
    cut, report = run(client, jobs, artifacts, image_set=upload(files, parameters=parameters))
    assert sorted(image["source"] for image in cut["images"] if image["split"] == "Training") == sorted(parameters)
    dropped = {drop["name"]: drop["reason"] for drop in report["report"]["dropped"]}
    assert dropped == {"Testing/glioma/x.png": "in_training", "Testing/glioma/y.png": "in_training"}
    loose, _ = run(client, jobs, artifacts, image_set=upload(files))  # As pictures of nobody knows what, copies.
    assert sum(image["split"] == "Training" for image in loose["images"]) < len(parameters)


def test_a_selection_that_exclude_empties_is_refused(client, upload):
    body = {"image_set": upload(FILES), "selection": [{"image": "a"}], "exclude": ["a"]}
    answer = client.post("/preprocess", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "selection_is_empty")


def test_planes_and_patients_that_people_name_are_used(client, jobs, artifacts, database, upload):
    raw = upload(FILES)
    corrections = {
        "Training/glioma/a.png": {"plane": "sagittal", "group": "patient 1"},
        "Testing/notumor/f.png": {"group": "patient 1"},
    }
    correct_images(database, artifacts.get(raw, "team"), corrections, by="key")
    image_set, report = run(client, jobs, artifacts, image_set=raw)
    planes = {image["source"]: (image["plane"], image["plane_source"]) for image in image_set["images"]}
    assert planes["Training/glioma/a.png"] == ("sagittal", "user")
    dropped = {drop["name"]: drop["reason"] for drop in report["report"]["dropped"]}
    assert dropped["Testing/notumor/f.png"] == "group_in_training"


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_patient_named_at_a_dropped_copy_counts_as_leakage(client, jobs, artifacts, database, upload, order):
    """Training/b, which is equal to Training/a and bears the patient, is dropped or not as the files are listed."""
    files = {f"Training/glioma/{name}.png": png(0) for name in order}
    raw = upload({**files, "Testing/glioma/c.png": png(1), "Testing/glioma/d.png": png(2)})
    corrections = {f"{name}.png": {"group": "p1"} for name in ("Training/glioma/b", "Testing/glioma/c")}
    correct_images(database, artifacts.get(raw, "team"), corrections, by="key")
    careless, _ = run(client, jobs, artifacts, image_set=raw, recipe={"groups": "keep"})
    assert (careless["leakage"]["groups"], careless["leakage"]["kept"]) == (1, 1)
    groups = {image["source"][-5:]: image["group"] for image in careless["images"]}
    assert groups == {f"{order[0]}.png": "p1", "c.png": "p1", "d.png": None}
    rigorous, _ = run(client, jobs, artifacts, image_set=raw)
    assert [image["source"][-5:] for image in rigorous["images"]] == [f"{order[0]}.png", "d.png"]
    assert (rigorous["leakage"]["groups"], rigorous["leakage"]["kept"]) == (0, 0)


def test_every_step_at_once_and_the_classifiers_way_agree(client, jobs, artifacts, objects, upload):
    """N4, CLAHE and matching: an image without a draw has the pixels that `prepare_image` gives an upload."""
    recipe = {
        "bias_field": {},
        "histogram_matching": {"reference": "pooled"},
        "interpolation": "lanczos",
        "size_px": 48,
    }
    image_set, _ = run(client, jobs, artifacts, image_set=upload(FILES), recipe=recipe)
    assert image_set["recipe"]["histogram_matching"]["references"].keys() >= {"glioma", "notumor", "pooled"}
    for image in image_set["images"]:
        stored = read_gray(objects.get_blob(image["sha256"])).pixels_u8
        np.testing.assert_array_equal(stored, prepare_image(FILES[image["source"]], image_set["recipe"]))
        assert image["parameters"]["histogram_matching"] == "pooled"


def test_a_retry_goes_on_where_the_job_broke(client, jobs, artifacts, upload):
    """The preparing shard breaks once: the measuring is not done again."""
    answer = client.post("/preprocess", json={"image_set": upload(FILES), "max_unreadable_share": 0.5}).json()
    stages = []

    def broken(execution):
        stages.append(execution.spec["stage"])
        if execution.spec["stage"] == 2:
            raise ValueError("broken")
        return run_stage(execution)

    while jobs.get(answer["id"], "team")["status"] in ("queued", "running"):
        run_shard(answer["id"], jobs.queued_shards(answer["id"])[0], work=broken, finish=finish_preprocessing)
    assert stages == [0, 0, 0, 1, 2]
    assert jobs.get(answer["id"], "team")["error"]["code"] == "internal"
    again, _ = jobs.retry(answer["id"], NewJob(kind="", owner="team", request={}))
    assert work_off(jobs, again)["status"] == "succeeded"


def test_the_plane_of_one_image_is_told(client):
    answer = client.upload("/plane", png(0, (80, 80)))
    assert answer.status_code == 200
    assert answer.json()["plane"] in ("axial", "coronal", "sagittal")
    assert 0 <= answer.json()["confidence"] <= 1
    refused = client.upload("/plane", b"name,plane\n")
    assert (refused.status_code, refused.json()["code"]) == (422, "unreadable_image")
