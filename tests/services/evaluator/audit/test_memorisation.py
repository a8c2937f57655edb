import cv2
import numpy as np
import pytest

from services.evaluator.audit.copy_search import group_alike, search
from services.evaluator.audit.images import AuditImages, ConstantImages
from services.evaluator.audit.memorisation import find_copies, group_repeats
from services.evaluator.audit.registration import match_images, shrink, turn
from services.evaluator.metrics.samples import TooFewImages
from shared.progress import Cancelled, NoProgress
from tests.services.evaluator.audit.conftest import draw_heads, make_images

REFERENCE = draw_heads(40, 1, size_px=128)


def change(image: np.ndarray, how: str) -> np.ndarray:
    if how == "mirrored":
        return image[:, ::-1]
    if how.startswith("turned"):
        return turn(image, float(how.split()[1]))
    if how.startswith("jpeg"):
        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(how.split()[1])])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
    if how == "blurred":
        return cv2.GaussianBlur(image, (0, 0), 1.5)
    if how == "brighter":
        return np.clip(image.astype(int) + 25, 0, 255).astype(np.uint8)
    if how == "small":
        return cv2.resize(cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA), (128, 128))
    return image


@pytest.mark.parametrize(
    "how", ["as it is", "mirrored", "turned 3", "turned -9", "jpeg 30", "jpeg 95", "blurred", "brighter", "small"]
)
def test_a_changed_copy_is_found_and_nothing_else(how: str) -> None:
    images = draw_heads(12, 99, size_px=128)
    images[5] = change(REFERENCE[17], how)
    found = find_copies(make_images(images, "syn"), make_images(REFERENCE, "ref"), None)
    (copy,) = found["copies"]
    assert (copy["name"], copy["nearest"]) == ("syn_5.png", "ref_17.png")
    assert copy["mirrored"] == (how == "mirrored")
    angle = float(how.split()[1]) if how.startswith("turned") else 0.0
    assert copy["angle_deg"] == pytest.approx(angle, abs=0.6)
    assert found["baseline"] is None


def test_the_baseline_has_the_same_figures_as_the_set() -> None:
    side = make_images(draw_heads(6, 5, size_px=128))
    found = find_copies(side, make_images(REFERENCE), side)
    assert found["baseline"] == found["summary"]
    leaked = find_copies(side, make_images(REFERENCE), make_images(REFERENCE[:4]))
    assert leaked["baseline"]["share_above"] == 1.0
    assert leaked["copies"] == []


def test_the_search_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = shrink(draw_heads(5, 3, size_px=128), 128)
    whole = search(images, REFERENCE, k=3)
    monkeypatch.setattr("services.evaluator.audit.copy_search._BLOCK", 7)
    parts = search(images, REFERENCE, k=3)
    np.testing.assert_array_equal(whole.rows, parts.rows)
    np.testing.assert_array_equal(whole.mirrored, parts.mirrored)


def test_no_image_is_its_own_neighbour() -> None:
    found = search(REFERENCE, REFERENCE, k=2, exclude_self=True)
    assert not (found.rows == np.arange(len(REFERENCE))[:, None]).any()
    assert search(REFERENCE[:2], REFERENCE[:2], k=2, exclude_self=True).rows.tolist() == [[1], [0]]


def test_registration_undoes_rotation_and_shift() -> None:
    moved = cv2.warpAffine(REFERENCE[0], np.float32([[1, 0, 2], [0, 1, -1]]), (128, 128))
    match = match_images(turn(moved, 6.0), REFERENCE[0], 4.0)
    assert match.correlation > 0.98
    assert match.edge_correlation > 0.95
    assert match.angle_deg == pytest.approx(6.0, abs=0.3)


def test_groups_join_an_image_its_mirror_image_and_chains() -> None:
    images = np.stack([REFERENCE[0], REFERENCE[1], REFERENCE[0][:, ::-1], REFERENCE[2]])
    groups = group_alike(images, 0.999)
    assert groups[0] == groups[2]
    assert len(set(groups.tolist())) == 3


def test_wrong_sides_are_refused_and_a_cancelled_audit_ends() -> None:
    reference = make_images(REFERENCE)
    empty = AuditImages([], np.zeros((0, 128, 128), np.uint8), [], [])
    with pytest.raises(TooFewImages):
        find_copies(empty, reference, None)
    with pytest.raises(ConstantImages):
        find_copies(make_images(np.zeros((2, 128, 128), np.uint8)), reference, None)

    class CancelledProgress(NoProgress):
        def raise_if_cancelled(self) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        find_copies(reference, reference, None, progress=CancelledProgress())


def test_images_that_repeat_the_first_of_a_group_are_in_it_and_mirrored_ones_are_not() -> None:
    heads = draw_heads(30, 7, size_px=128)
    assert group_repeats(heads).tolist() == list(range(30))
    rng = np.random.default_rng(0)
    again = np.clip(np.roll(heads[:5], 1, axis=2) + rng.normal(0, 8, heads[:5].shape), 0, 255).astype(np.uint8)
    mirrored = np.ascontiguousarray(heads[:5, :, ::-1])
    groups = group_repeats(np.concatenate([heads, again, mirrored]))
    assert groups.tolist() == [*range(30), *range(5), *range(30, 35)]
