"""The map of images: islands stay islands, the seed decides, and it is never too large."""

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from services.evaluator.reports.embedding import (
    MAX_POINTS,
    PointGroup,
    _thin,
    draw_embedding,
    embed,
    group_by_class,
    pack_thumbnails,
    unpack_thumbnails,
)


def islands(n: int, apart: float, d: int = 60) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(n, d)) + apart * k * np.eye(d)[k] for k in range(3)])


def test_points_lie_beside_points_of_their_own_island() -> None:
    points = embed(islands(40, 30.0), seed=0)
    distances = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(len(points))
    own = np.repeat(range(3), 40)
    assert (own[distances.argmin(axis=1)] == own).all()


def test_the_same_seed_gives_the_same_map() -> None:
    features = islands(10, 3.0)
    assert (embed(features, 1) == embed(features, 1)).all()


@pytest.mark.parametrize("features", [np.zeros((6, 4)), np.eye(4), np.arange(12.0).reshape(12, 1)])
def test_strange_features_give_finite_points(features: np.ndarray) -> None:
    assert np.isfinite(embed(features, 0)).all()


def test_large_groups_are_thinned_by_the_same_share() -> None:
    groups = [PointGroup("synthetic", "s", "p", np.zeros((n, 2))) for n in (4000, 2000, 1)]
    kept = [len(group.features) for group in _thin(groups, 0)]
    assert sum(kept) <= MAX_POINTS + 1
    assert kept[0] == 2 * kept[1] + (kept[0] % 2)
    assert kept[2] == 1
    assert _thin(groups[2:], 0) == groups[2:]


@pytest.mark.parametrize("panels", [["glioma"], ["glioma", "notumor"], ["a", "b", "c"]])
def test_there_is_a_picture_whatever_the_number_of_classes(panels: list[str]) -> None:
    rng = np.random.default_rng(0)
    groups = [
        PointGroup(side, f"real {side}", panel, rng.normal(size=(6, 9)))
        for panel in panels
        for side in ("synthetic", "reference", "baseline")
    ]
    with Image.open(io.BytesIO(draw_embedding(groups, 0, "nothing"))) as picture:
        assert min(picture.size) > 800


def test_thumbnails_come_back_as_they_were_packed() -> None:
    flat = np.stack([np.full((64, 64), level, dtype=np.uint8) for level in range(200)] * 2)
    data = pack_thumbnails({"synthetic": flat, "reference": flat[:5]}, seed=0)
    assert pack_thumbnails({"synthetic": flat, "reference": flat[:5]}, seed=0) == data
    unpacked = unpack_thumbnails(data)
    assert unpacked["reference"][:, 7, 9].tolist() == [0, 1, 2, 3, 4]
    assert unpacked["synthetic"].shape == (250, 32, 32)
    levels = unpacked["synthetic"][:, 0, 0].tolist()
    assert all(a <= b or b < 100 for a, b in pairwise(levels))


def test_images_of_one_side_are_grouped_by_class() -> None:
    features = np.arange(8).reshape(4, 2)
    groups = group_by_class("reference", "real", ["notumor", "glioma", "notumor", None], features)
    assert [(group.panel, group.features[:, 0].tolist()) for group in groups] == [
        ("notumor", [0, 4]),
        ("glioma", [2]),
        ("without a class", [6]),
    ]
