import io
import json
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import func, select

from shared.artifacts.tables import ArtifactRow
from tests.gateway.pictures import picture, small_set, zip_of

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


def post_zip(gateway, keys, data, *, name="scans.zip", headers=None, **params):
    files = [("file", (name, data))]
    return gateway.post("/image-sets", files=files, params=params, headers={**keys["alice"], **(headers or {})})


def nothing_is_left(settings, database, objects):
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(ArtifactRow)) == 0
    assert list(objects.list()) == []
    assert list(Path(settings.data_dir, "tmp").glob("*")) == []


def test_zip_of_a_folder_becomes_an_image_set(gateway, keys, objects, settings):
    files = {f"my scans/{name}": data for name, data in small_set().items()}
    response = post_zip(gateway, keys, zip_of(files), name="scans.zip", params=None)
    assert response.status_code == 201
    body = response.json()
    assert response.headers["location"] == body["url"] == f"/image-sets/{body['id']}"
    assert body["kind"] == "raw"
    assert body["n_images"] == 4
    assert body["classes"] == {"glioma": 2, "notumor": 2}
    assert body["splits"] == {"Training": 2, "Testing": 2}
    assert list(Path(settings.data_dir, "tmp").glob("*")) == []


def test_many_files_and_one_zip_give_the_same_images(gateway, keys, upload):
    by_files = upload(small_set())
    by_zip = post_zip(gateway, keys, zip_of(small_set())).json()
    bare = gateway.post(
        "/image-sets", content=zip_of(small_set()), headers={**keys["alice"], "Content-Type": "application/zip"}
    ).json()
    pages = [gateway.get(f"{made['url']}/images", headers=keys["alice"]).json() for made in (by_files, by_zip, bare)]
    assert pages[0] == pages[1] == pages[2]
    assert [item["name"] for item in pages[0]["items"]] == sorted(small_set())


def test_stored_bytes_are_the_uploaded_ones(gateway, keys, upload):
    made = upload(small_set())
    archive = gateway.get(f"{made['url']}/archive", headers=keys["alice"])
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == small_set()


def test_more_than_a_thousand_parts(gateway, keys, upload):
    tiny = picture(1, size=(16, 16))
    made = upload({f"glioma/{index}.png": tiny for index in range(1200)})
    assert made["n_images"] == 1200


def test_one_bad_file_refuses_all_and_leaves_nothing(gateway, keys, settings, database, objects):
    files = {**small_set(), "Training/glioma/broken.jpg": picture(9, image_format="JPEG", size=(200, 200))[:900]}
    response = post_zip(gateway, keys, zip_of(files))
    assert response.status_code == 422
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "image_truncated"
    assert problem["files"] == [
        {
            "name": "Training/glioma/broken.jpg",
            "code": "image_truncated",
            "detail": "Its end is missing; copy or export the image again.",
        }
    ]
    nothing_is_left(settings, database, objects)


def test_skip_invalid_keeps_the_good_and_names_the_bad(gateway, keys):
    files = {**small_set(), "Training/glioma/note.txt": b"hello", "Training/cyst/1.png": picture(8)}
    response = post_zip(gateway, keys, zip_of(files), skip_invalid="true")
    body = response.json()
    assert (response.status_code, body["n_images"], body["n_skipped"]) == (201, 4, 2)
    manifest = gateway.get(body["url"], headers=keys["alice"]).json()["manifest"]
    assert {(item["name"], item["code"]) for item in manifest["skipped"]} == {
        ("Training/glioma/note.txt", "image_type_unsupported"),
        ("Training/cyst/1.png", "unknown_class_folder"),
    }


def test_different_reasons_are_listed_at_most_twenty(gateway, keys):
    files = {f"glioma/{index}.png": b"no image" for index in range(30)} | {"glioma/empty.png": b""}
    problem = post_zip(gateway, keys, zip_of(files)).json()
    assert (problem["code"], problem["n_bad"], len(problem["files"])) == ("bad_files", 31, 20)


@pytest.mark.parametrize(
    ("files", "status", "code"),
    [
        ({}, 422, "empty_upload"),
        ({"__MACOSX/glioma/._1.png": b"x", "glioma/.DS_Store": b"x"}, 422, "empty_upload"),
        ({"glioma/1.svg": b"<svg onload='x'/>"}, 415, "image_type_unsupported"),
        ({"glioma/1.png": b""}, 422, "image_file_empty"),
        ({"glioma/1.png": picture(size=(1, 1))}, 422, "image_too_small"),
        ({"astrocytoma/1.png": picture()}, 422, "unknown_class_folder"),
        ({"1.png": picture()}, 422, "layout_invalid"),
        ({"glioma/a.png": picture(), "glioma/A.png": picture(1)}, 422, "names_collide"),
    ],
)
def test_what_cannot_be_used_is_refused(gateway, keys, settings, database, objects, files, status, code):
    response = post_zip(gateway, keys, zip_of(files))
    assert (response.status_code, response.json()["code"]) == (status, code)
    nothing_is_left(settings, database, objects)


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"{}", "application/json"),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nhi\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b"x", "multipart/form-data"),
    ],
)
def test_bodies_that_are_no_upload(gateway, keys, settings, database, objects, content, content_type):
    headers = {**keys["alice"], "Content-Type": content_type}
    response = gateway.post("/image-sets", content=content, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "upload_malformed")
    nothing_is_left(settings, database, objects)


def test_too_many_bytes(gateway, keys, settings, monkeypatch):
    monkeypatch.setattr(settings, "upload_max_bytes", 2000)
    noise = zip_of({"glioma/1.png": picture(size=(100, 100))})
    assert post_zip(gateway, keys, noise).json()["code"] == "upload_too_large"
    headers = {**keys["alice"], "Content-Type": "application/zip"}
    response = gateway.post("/image-sets", content=iter([noise]), headers=headers)  # chunked: no length announced
    assert (response.status_code, response.json()["code"]) == (413, "upload_too_large")


def test_idempotency_key(gateway, keys):
    headers = {"Idempotency-Key": "upload-1"}
    first = post_zip(gateway, keys, zip_of(small_set()), headers=headers)
    again = post_zip(gateway, keys, zip_of(small_set()), headers=headers)
    other = post_zip(gateway, keys, zip_of(small_set(3)), headers=headers)
    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(gateway.get("/image-sets", headers=keys["alice"]).json()["items"]) == 1


@pytest.mark.parametrize("name", ["a\x07b", "two\nlines", "", "x" * 201])
def test_names_that_no_one_means_are_refused(gateway, keys, settings, database, objects, name):
    answer = gateway.post(
        "/image-sets",
        params={"name": name},
        content=zip_of(small_set()),
        headers={**keys["alice"], "Content-Type": "application/zip"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    nothing_is_left(settings, database, objects)


def test_lists_go_page_by_page(gateway, keys, upload):
    made = [upload(small_set(n), name=f"set {n}")["id"] for n in (1, 2, 3)]
    seen, params = [], {"limit": 2}
    while True:
        page = gateway.get("/image-sets", params=params, headers=keys["alice"]).json()
        seen += [item["id"] for item in page["items"]]
        params["cursor"] = page["next_cursor"]
        if params["cursor"] is None:
            break
    assert seen == made[::-1]
    bad = gateway.get("/image-sets", params={"cursor": "nonsense!"}, headers=keys["alice"])
    assert (bad.status_code, bad.json()["code"]) == (422, "cursor_invalid")


def test_manifest_names_every_fact_but_not_the_images(gateway, keys, upload):
    body = gateway.get(upload()["url"], headers=keys["alice"]).json()
    assert "images" not in body["manifest"]
    assert body["manifest"]["code_version"]
    request = '{"name": "upload", "skip_invalid": false, "axis": "axial", "slices": "middle"}'
    assert json.dumps(body["manifest"]["request"]) == request
