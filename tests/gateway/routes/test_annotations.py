"""People correct planes and groups; lists, pages, grids and archives follow."""

import io
import zipfile

import pytest
from PIL import Image

from shared.artifacts.store import DraftArtifact
from tests.gateway.pictures import picture, small_set

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]

NAMES = sorted(small_set(8))


@pytest.fixture
def url(upload):
    return upload(small_set(8))["url"]


@pytest.fixture
def put(gateway, keys, url):
    def send(path, body=None, who="alice", **content):
        content = content or {"json": body}
        headers = {**keys[who], **content.pop("headers", {})}
        return gateway.put(f"{url}{path}", headers=headers, **content)

    return send


@pytest.fixture
def read(gateway, keys, url):
    return lambda path, **params: gateway.get(f"{url}{path}", headers=keys["reader"], params=params)


def test_one_image_is_corrected_and_shown_so(put, read):
    answer = put(f"/images/{NAMES[0]}", {"plane": "axial", "group": "patient-1"})
    assert answer.status_code == 200, answer.text
    shown = read("/images").json()["items"]
    assert answer.json() == shown[0]
    assert (shown[0]["plane"], shown[0]["plane_source"], shown[0]["group"]) == ("axial", "user", "patient-1")
    assert [image["plane"] for image in shown[1:]] == [None] * 7
    assert [image["name"] for image in read("/images", plane="axial").json()["items"]] == [NAMES[0]]
    assert put(f"/images/{NAMES[0]}", {"plane": "sagittal"}).json()["group"] == "patient-1"
    assert read("/images", plane="axial").json()["items"] == []
    back = put(f"/images/{NAMES[0]}", {"plane": None, "group": None}).json()
    assert back["plane"] is None
    assert "group" not in back
    assert read("/annotations").json() == {"items": [], "next_cursor": None}


def test_grid_and_archive_follow(put, read):
    assert read("/grid.png", plane="coronal").status_code == 404
    put("/annotations", {"items": [{"name": name, "plane": "coronal"} for name in NAMES[:2]]})
    grid = read("/grid.png", plane="coronal", px=16)
    assert Image.open(io.BytesIO(grid.content)).size == (34, 16)
    assert "no-cache" in grid.headers["cache-control"]
    with zipfile.ZipFile(io.BytesIO(read("/archive", plane="coronal").content)) as archive:
        assert archive.namelist() == NAMES[:2]


def test_many_as_csv_or_json_and_the_list_of_them(put, read, keys):
    csv = "image_id,class,plane\n" + "".join(f"scan-{k},glioma,sagittal\n" for k in range(8))
    text = {"content": csv.encode(), "headers": {"Content-Type": "text/csv; charset=utf-8"}}
    assert put("/annotations", **text).json() == {"n_changed": 8}
    assert put("/annotations", **text).json() == {"n_changed": 0}
    assert put("/annotations", {"items": [{"name": NAMES[0], "group": "p"}]}).json() == {"n_changed": 1}
    first = read("/annotations", limit=5).json()
    rest = read("/annotations", limit=5, cursor=first["next_cursor"]).json()
    items = first["items"] + rest["items"]
    assert [(item["name"], item["plane"]) for item in items] == [(name, "sagittal") for name in NAMES]
    assert rest["next_cursor"] is None
    assert items[0]["group"] == "p"
    key_id = keys["alice"]["Authorization"].split("_")[1]
    assert {item["by"] for item in items} == {key_id}
    assert read("/annotations", cursor="xyz").json()["code"] == "cursor_invalid"


def test_all_or_nothing(put, read):
    answer = put("/annotations", {"items": [{"name": NAMES[0], "plane": "axial"}, {"name": "none.png"}]})
    assert (answer.status_code, answer.json()["code"]) == (422, "image_names_unknown")
    assert answer.json()["names"] == ["none.png"]
    assert read("/annotations").json()["items"] == []


def test_what_is_refused(put, gateway, keys, url):
    path = f"/images/{NAMES[0]}"
    assert put("/images/none.png", {"plane": "axial"}).json()["code"] == "image_not_found"
    unknown = put(path, {"plane": "oblique"})
    assert unknown.status_code == 422
    assert "'axial', 'coronal' or 'sagittal'" in unknown.json()["detail"]
    assert put(path, {"plain": "axial"}).status_code == 422
    assert put(path, {"group": "a\x00b"}).status_code == 422
    assert put(path, content=b"{").json()["code"] == "invalid_request"
    assert put(path, {"plane": "axial"}, who="reader").status_code == 403
    assert put(path, {"plane": "axial"}, who="bob").json()["code"] == "image_set_not_found"
    assert put("/annotations", {"items": []}, who="bob").status_code == 404
    assert gateway.get(f"{url}/annotations", headers=keys["bob"]).status_code == 404
    xml = put("/annotations", content=b"<x/>", headers={"Content-Type": "text/xml"})
    assert (xml.status_code, xml.json()["code"]) == (415, "corrections_not_readable")
    assert put(path, content=b" " * 1024**2 + b"{}").status_code == 413
    long = b" " * 15 * 1024**2 + b'{"items": []}'
    assert put("/annotations", content=long, headers={"Content-Type": "application/json"}).json() == {"n_changed": 0}
    assert put("/annotations", content=b" " * 17 * 1024**2).status_code == 413


def test_a_page_is_the_same_whatever_is_corrected_before_it(put, read):
    put("/annotations", {"items": [{"name": name, "plane": "axial"} for name in NAMES]})
    first = read("/images", plane="axial", limit=3).json()
    put(f"/images/{NAMES[0]}", {"plane": "coronal"})
    rest = read("/images", plane="axial", cursor=first["next_cursor"]).json()
    assert [image["name"] for image in first["items"] + rest["items"]] == NAMES
    assert read("/images", plane="axial", limit=7).json()["next_cursor"] is None


def test_members_of_a_preprocessed_set_pass_through(gateway, keys, put, artifacts, objects):
    found = {"plane": "coronal", "plane_confidence": 0.8, "plane_source": "hdbscan", "group": "p7"}
    image = {"name": "Training/glioma/1.png", "class": "glioma", "split": "Training", **found}
    image |= {"sha256": objects.put_blob(picture()), "width": 40, "height": 32, "source": None, "parameters": {}}
    made = artifacts.create(DraftArtifact("image_set", "preprocessed", "p", {"images": [image]}), owner="team-a")
    path = f"/image-sets/{made.id}/images"
    assert gateway.get(path, headers=keys["alice"]).json()["items"] == [image]
    corrected = gateway.put(f"{path}/{image['name']}", json={"plane": "axial"}, headers=keys["alice"]).json()
    assert corrected == {**image, "plane": "axial", "plane_source": "user", "plane_confidence": None}
