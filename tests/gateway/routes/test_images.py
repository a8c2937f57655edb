import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.gateway.pictures import picture, small_set

pytestmark = [pytest.mark.services, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


@pytest.fixture
def read(gateway, keys, upload):
    """GET below one uploaded set of eight images, as a key that may only read."""
    made = upload(small_set(8))

    def get(path, headers=None, **params):
        return gateway.get(f"{made['url']}{path}", params=params, headers={**keys["reader"], **(headers or {})})

    return get


def opened(response):
    assert response.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(response.content))


def test_filters_and_pages(read):
    everything = read("/images").json()
    assert [item["name"] for item in everything["items"]] == sorted(small_set(8))
    assert everything["next_cursor"] is None
    glioma = read("/images", **{"class": "glioma", "split": "Testing"}).json()["items"]
    assert {(item["class"], item["split"]) for item in glioma} == {("glioma", "Testing")}
    assert len(glioma) == 2
    first = read("/images", limit=5).json()
    rest = read("/images", limit=5, cursor=first["next_cursor"]).json()
    assert first["items"] + rest["items"] == everything["items"]
    assert rest["next_cursor"] is None
    assert read("/images", cursor="xyz").json()["code"] == "cursor_invalid"
    unknown = read("/images", **{"class": "cyst"})
    assert unknown.status_code == 422
    assert "'glioma', 'meningioma', 'notumor' or 'pituitary'" in unknown.json()["detail"]


def test_one_image_and_its_thumbnail(read):
    path = "/images/Training/glioma/scan-0.png"
    whole = read(path)
    assert np.array_equal(np.asarray(opened(whole)), np.asarray(Image.open(io.BytesIO(picture(0)))))
    assert opened(read(path, px=20)).size == (20, 16)
    assert read(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert read(path, px=20).headers["etag"] != whole.headers["etag"]
    assert read("/images/Training/glioma/none.png").json()["code"] == "image_not_found"
    assert read(path, px=3).status_code == 422


def test_grid_has_n_cells(read):
    assert opened(read("/grid.png", n=4, px=32)).size == (66, 66)
    assert opened(read("/grid.png", n=400, px=16)).size == (3 * 18 - 2, 3 * 18 - 2)
    assert opened(read("/grid.png", **{"class": "glioma"}, n=2, px=16)).size == (34, 16)
    assert read("/grid.png", plane="axial").json()["code"] == "image_not_found"


def test_archive_of_one_class(read):
    response = read("/archive", **{"class": "notumor"})
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(name for name in small_set(8) if "notumor" in name)


def test_an_archive_of_nothing_is_refused(read):
    answer = read("/archive", plane="axial")
    assert (answer.status_code, answer.json()["code"]) == (404, "image_not_found")


def test_unknown_set(gateway, keys):
    for path in ("", "/images", "/archive", "/grid.png", "/images/x"):
        response = gateway.get(f"/image-sets/set-0{path}", headers=keys["alice"])
        assert (response.status_code, response.json()["code"]) == (404, "image_set_not_found")
