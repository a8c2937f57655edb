import hashlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from deploy.embedded.phantom_anatomy import draw_head
from deploy.embedded.phantom_tumours import draw_tumour
from deploy.embedded.phantoms import draw_phantom, write_phantoms
from shared.tumour import CLASS_ORDER, Plane, TumourClass


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def changed(plane, tumour_class, seed=0):
    """Where a tumour changes a head: levels with it, and the head it was drawn in."""
    head = draw_head(plane, np.random.default_rng(seed))
    return draw_tumour(head, tumour_class, np.random.default_rng(seed + 1)), head


def test_the_folders_are_those_of_the_real_data(tmp_path):
    assert write_phantoms(tmp_path, n_training=2, n_testing=1) == 12
    counts = Counter(path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert counts == {f"{split}/{name}": n for split, n in (("Training", 2), ("Testing", 1)) for name in CLASS_ORDER}


def test_one_duplicate_and_one_leak_and_no_other(tmp_path):
    write_phantoms(tmp_path, n_training=3, n_testing=2)
    by_digest = Counter(digests(tmp_path).values())
    assert sorted(by_digest.values())[-3:] == [1, 2, 2]


def test_the_seed_decides_every_byte(tmp_path):
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        write_phantoms(tmp_path / name, n_training=2, n_testing=1, seed=seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "c").values())


def test_files_are_gray_images_of_256_to_512_px(tmp_path):
    write_phantoms(tmp_path, n_training=4, n_testing=1)
    for path in tmp_path.rglob("*.*"):
        with Image.open(path) as image:
            assert image.mode == "L"
            assert 200 <= min(image.size) <= max(image.size) <= 512


@pytest.mark.parametrize("plane", list(Plane))
@pytest.mark.parametrize("tumour_class", list(TumourClass))
def test_a_phantom_is_a_head_on_a_dark_ground(plane, tumour_class):
    pixels = draw_phantom(tumour_class, np.random.default_rng(7), plane)
    height, width = pixels.shape
    corner = pixels[: height // 12, : width // 12]
    centre = pixels[height // 3 : height // 2, width // 3 : 2 * width // 3]
    assert corner.mean() < 15 < 50 < centre.mean()


def test_no_tumour_changes_nothing():
    levels, head = changed(Plane.AXIAL, TumourClass.NOTUMOR)
    np.testing.assert_array_equal(levels, head.levels)


@pytest.mark.parametrize("plane", list(Plane))
@pytest.mark.parametrize("seed", range(4))
def test_each_tumour_is_where_it_belongs(plane, seed):
    """Brightest new tissue: deep for a glioma, at the surface for a meningioma, at the sella for a pituitary tumour."""
    for tumour_class in (TumourClass.GLIOMA, TumourClass.MENINGIOMA, TumourClass.PITUITARY):
        levels, head = changed(plane, tumour_class, seed)
        bright = (levels - head.levels > 0.12) & (levels > 0.7)
        assert bright.sum() > 60
        if tumour_class == TumourClass.GLIOMA:
            assert head.depth[bright].min() > -0.02
        if tumour_class == TumourClass.MENINGIOMA:
            assert head.depth[bright].min() < 0.03
        if tumour_class == TumourClass.PITUITARY:
            rows, columns = np.nonzero(bright)
            axis = np.linspace(-1, 1, levels.shape[0])
            assert np.hypot(axis[columns].mean() - head.sella[0], axis[rows].mean() - head.sella[1]) < 0.1
