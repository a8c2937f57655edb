import numpy as np
import pytest

from services.evaluator.audit.diversity import coverage_of, measure_diversity
from services.evaluator.audit.images import AuditImages, ConstantImages
from tests.services.evaluator.audit.conftest import PNG, draw_heads, make_images

PLANES = ("axial", "coronal", "sagittal")


def draw_planes(n_each: tuple[int, int, int], seed: int) -> AuditImages:
    """Drawn heads, squeezed in one direction for coronal and in the other for sagittal."""
    rows, columns = np.mgrid[:64, :64]
    images, planes = [], []
    for plane, n in zip(PLANES, n_each, strict=True):
        for image in draw_heads(n, seed) if n else ():
            if plane == "coronal":
                image = image * (np.abs(rows - 32) < 12)
            if plane == "sagittal":
                image = image * (np.abs(columns - 32) < 12)
            images.append(image.astype(np.uint8))
            planes.append(plane)
    return AuditImages([f"{seed}_{k}" for k in range(len(images))], np.array(images), [PNG] * len(images), planes)


def test_coverage_of_a_set_by_itself_is_one_and_by_one_point_is_small() -> None:
    points = np.random.default_rng(0).normal(size=(200, 6))
    assert coverage_of(points, points) == 1.0
    assert coverage_of(points, points[:1]) < 0.2
    assert coverage_of(points, points + 100) == 0.0


def test_coverage_of_an_equal_draw_is_its_expectation() -> None:
    # Naeem et al. 2020, eq. 9: E = 1 - (m-1)...(m-k) / ((n+m-1)...(n+m-k)) for m reference points and n images.
    rng = np.random.default_rng(0)
    n = m = 300
    expected = 1 - np.prod([(m - j) / (n + m - j) for j in range(1, 6)])
    found = [coverage_of(rng.normal(size=(m, 5)), rng.normal(size=(n, 5))) for _ in range(10)]
    assert np.mean(found) == pytest.approx(expected, abs=0.02)


def test_the_plane_mix_is_recovered_and_its_rule_is_tested() -> None:
    reference, synthetic = draw_planes((40, 40, 40), 1), draw_planes((4, 30, 26), 2)
    hidden = AuditImages(synthetic.names, synthetic.images_u8, synthetic.files, [None] * len(synthetic))
    found = measure_diversity(hidden, reference, None)["planes"]
    assert found["n_synthetic"] == {"axial": 4, "coronal": 30, "sagittal": 26}
    assert found["reference"] == dict.fromkeys(PLANES, pytest.approx(1 / 3, abs=1e-3))
    assert found["distance"] == pytest.approx((1 / 3 - 4 / 60), abs=1e-3)
    mirrored = AuditImages(hidden.names, hidden.images_u8[:, :, ::-1].copy(), hidden.files, hidden.planes)
    assert measure_diversity(mirrored, reference, None)["planes"]["synthetic"] == found["synthetic"]


def test_without_planes_the_reason_is_said() -> None:
    found = measure_diversity(make_images(draw_heads(6, 1)), make_images(draw_heads(9, 2)), None)
    assert found["planes"] is None
    assert "not known" in found["planes_reason"]


def test_repeated_images_are_grouped() -> None:
    images = draw_heads(12, 1, size_px=128)
    images[3], images[7] = images[0], images[0][:, ::-1]
    images[9] = images[5]
    repeats = measure_diversity(make_images(images), make_images(draw_heads(9, 2, size_px=128)), None)["duplicates"]
    groups = {frozenset(group) for group in repeats["groups"]}
    assert groups == {
        frozenset({"image_0.png", "image_3.png", "image_7.png"}),
        frozenset({"image_5.png", "image_9.png"}),
    }
    assert (repeats["n_images"], repeats["n_surplus"]) == (5, 3)


def test_many_drawings_of_one_image_are_one_group() -> None:
    rng = np.random.default_rng(0)
    first, second, *others = draw_heads(22, 1, size_px=128)
    drawings = [np.clip(image + rng.normal(0, 4, image.shape), 0, 255) for image in [first] * 40 + [second] * 15]
    images = np.array([*drawings, *others]).astype(np.uint8)
    order = rng.permutation(len(images))
    reference = make_images(draw_heads(9, 2, size_px=128))
    repeats = measure_diversity(make_images(images[order]), reference, None)["duplicates"]
    wanted = [{f"image_{at}.png" for at in np.flatnonzero(order < 40)}]
    wanted.append({f"image_{at}.png" for at in np.flatnonzero((order >= 40) & (order < 55))})
    assert sorted(map(set, repeats["groups"]), key=len, reverse=True) == wanted
    assert (repeats["n_images"], repeats["n_groups"], repeats["n_surplus"]) == (55, 2, 53)


def test_constant_images_are_refused() -> None:
    with pytest.raises(ConstantImages):
        measure_diversity(make_images(np.full((3, 64, 64), 7, np.uint8)), make_images(draw_heads(9, 2)), None)
