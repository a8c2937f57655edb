"""Planes of a set: labels stand and name clusters, prototypes stand in for them, and every size of set works."""

import csv

import cv2
import numpy as np
import pytest

from services.preprocess.plane_features import FEATURES, N_FEATURES, plane_features
from services.preprocess.plane_prototypes import PLANES, load_prototypes, weigh_planes
from services.preprocess.planes import UnknownPlane, assign_planes, predict_plane
from services.preprocess.reading import read_gray

SWAPPED = {"axial": "coronal", "coronal": "sagittal", "sagittal": "axial"}


def make_set(n: int, seed: int = 0, spread: float = 0.003) -> tuple[np.ndarray, list[str]]:
    """n features scattered tightly about one prototype of each plane, and their planes."""
    rng = np.random.default_rng(seed)
    prototypes, codes = load_prototypes()
    places = np.concatenate([np.flatnonzero(codes == code)[:1] for code in range(3)])
    drawn = rng.choice(places, n)
    features = prototypes[drawn] + rng.normal(0, spread, (n, N_FEATURES))
    return features.astype(np.float32), [PLANES[code] for code in codes[drawn]]


def planes_of(result) -> list[str]:
    return [assignment.plane for assignment in result.assignments]


@pytest.mark.parametrize("n", [0, 1, 5, 24, 149, 200, 600])
def test_prototypes_name_sets_of_any_size(n):
    features, planes = make_set(n)
    result = assign_planes(features, {})
    assert planes_of(result) == planes
    assert result.features == FEATURES
    assert result.named_by == "prototypes"
    assert all(0 <= assignment.confidence <= 1 for assignment in result.assignments)
    assert sum(cluster.size for cluster in result.clusters) + result.n_noise == (n if n >= 150 else 0)


def test_a_small_set_is_not_clustered():
    features, _ = make_set(24)
    result = assign_planes(features, {})
    assert result.clusters == []
    assert {assignment.cluster for assignment in result.assignments} == {-1}
    assert {assignment.how for assignment in result.assignments} == {"prototype"}


@pytest.mark.parametrize("n", [5, 600])
def test_labels_of_the_user_stand_whatever_they_say(n):
    features, planes = make_set(n)
    labels = {2: SWAPPED[planes[2]], 4: planes[4]}
    result = assign_planes(features, labels)
    for row, plane in labels.items():
        assignment = result.assignments[row]
        assert (assignment.plane, assignment.confidence, assignment.how) == (plane, 1.0, "label")


def test_labels_name_the_cluster_they_lie_in():
    features, planes = make_set(600)
    labels = {planes.index(plane): SWAPPED[plane] for plane in PLANES}
    result = assign_planes(features, labels)
    assert planes_of(result) == [SWAPPED[plane] for plane in planes]
    assert result.named_by == "labels"
    assert [cluster.named_by for cluster in result.clusters] == ["labels"] * 3
    assert {assignment.how for assignment in result.assignments} == {"label", "cluster"}


def test_a_contradicted_cluster_is_trusted_less_than_a_confirmed_one():
    features, planes = make_set(600)
    first = planes.index("axial")
    other = planes.index("axial", first + 1)
    confirmed = assign_planes(features, {first: "axial"}).assignments[other].confidence
    contradicted = assign_planes(features, {first: "sagittal"}).assignments[other].confidence
    assert contradicted < 0.5 < confirmed


def test_a_cluster_whose_labels_disagree_is_settled_by_neighbours():
    features, planes = make_set(600)
    axial = [row for row, plane in enumerate(planes) if plane == "axial"][:2]
    result = assign_planes(features, {axial[0]: "axial", axial[1]: "coronal"})
    unnamed = [cluster for cluster in result.clusters if cluster.plane is None]
    assert [(cluster.purity, cluster.n_labelled) for cluster in unnamed] == [(0.5, 2)]
    members = [one for one in result.assignments if one.cluster == unnamed[0].cluster]
    assert {one.how for one in members} <= {"label", "neighbours", "prototype"}


def test_noise_follows_its_neighbours():
    features, planes = make_set(600)
    one, other = features[planes.index("axial")], features[planes.index("coronal")]
    # Farther from its cluster than the clusters are from each other.
    with_stray = np.concatenate([features, (3 * one - 2 * other)[None]])
    result = assign_planes(with_stray, {planes.index(plane): SWAPPED[plane] for plane in PLANES})
    assert result.n_noise == 1
    last = result.assignments[-1]
    assert (last.cluster, last.plane, last.how) == (-1, SWAPPED["axial"], "neighbours")


def test_a_set_beyond_the_limit_is_clustered_in_part_and_assigned_in_full():
    features, planes = make_set(3000)
    labels = {2999: planes[2999]}
    result = assign_planes(features, labels, max_clustered=300)
    assert planes_of(result) == planes
    assert sum(cluster.size for cluster in result.clusters) + result.n_noise == 300
    assert result.assignments[2999].cluster >= 0, "labelled images are always among the clustered"
    assert result == assign_planes(features, labels, max_clustered=300)


def test_the_order_of_the_images_does_not_matter():
    features, _ = make_set(400, spread=0.006)
    order = np.random.default_rng(1).permutation(400)
    straight = planes_of(assign_planes(features, {}))
    assert planes_of(assign_planes(features[order], {})) == [straight[row] for row in order]


def test_unknown_planes_and_images_are_refused():
    features, _ = make_set(5)
    with pytest.raises(UnknownPlane, match="oblique"):
        assign_planes(features, {0: "oblique"})
    with pytest.raises(UnknownPlane, match="image 5"):
        assign_planes(features, {5: "axial"})
    with pytest.raises(UnknownPlane):
        predict_plane(features[0], (features, ["oblique"] * 5))


def test_one_image_is_predicted_by_prototypes_or_by_given_references():
    features, planes = make_set(30)
    alone = predict_plane(features[0])
    assert (alone.plane, alone.how, alone.cluster) == (planes[0], "prototype", -1)
    assert alone == predict_plane(features[0], (features[:0], []))
    among = predict_plane(features[0], (features[1:], [SWAPPED[plane] for plane in planes[1:]]))
    assert (among.plane, among.how) == (SWAPPED[planes[0]], "neighbours")


def test_an_image_unlike_any_slice_has_no_confidence():
    assert predict_plane(plane_features(np.zeros((200, 200), np.uint8))).confidence < 0.05


def test_weights_do_not_depend_on_the_blocks():
    features, _ = make_set(2100)
    prototypes, codes = load_prototypes()
    weights, nearest = weigh_planes(features, prototypes, codes)
    few, nearest_of_few = weigh_planes(features[1000:1100], prototypes, codes)
    assert np.allclose(weights[1000:1100], few, atol=1e-4)  # float32 products of other shapes round differently
    assert np.array_equal(nearest[1000:1100], nearest_of_few)


def test_a_prototype_belongs_to_its_own_plane():
    prototypes, codes = load_prototypes()
    weights, nearest = weigh_planes(prototypes, prototypes, codes)
    assert np.array_equal(weights.argmax(axis=1), codes)
    assert np.array_equal(codes[nearest], codes)
    assert (np.bincount(codes) >= 50).all()


@pytest.fixture(scope="module")
def sample(data_dir):
    """Gray pixels and planes of the 297 labelled Training images, as the study labels them."""
    with (data_dir.parent / "reference" / "planes_sample.csv").open() as file:
        rows = list(csv.DictReader(file))
    folder = data_dir / "brain-tumor-mri" / "Training"
    files = [folder / row["class"] / f"{row['image_id']}.jpg" for row in rows]
    return [read_gray(path.read_bytes()).pixels_u8 for path in files], [row["plane"] for row in rows]


def turn(pixels_u8: np.ndarray, degrees: float) -> np.ndarray:
    height, width = pixels_u8.shape
    return cv2.warpAffine(pixels_u8, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))


@pytest.mark.data
@pytest.mark.parametrize("degrees", [0, -8, 12])
def test_prototypes_agree_with_the_labelled_sample_however_the_head_leans(sample, degrees):
    images, planes = sample
    features = np.stack([plane_features(turn(pixels, degrees)) for pixels in images])
    single = [predict_plane(one).plane for one in features]
    together = planes_of(assign_planes(features, {}))
    assert np.mean([a == b for a, b in zip(single, planes, strict=True)]) >= 0.98
    assert np.mean([a == b for a, b in zip(together, planes, strict=True)]) >= 0.98


@pytest.mark.data
def test_four_fifths_of_the_sample_name_the_rest(sample):
    images, planes = sample
    features = np.stack([plane_features(pixels) for pixels in images])
    fold = np.random.default_rng(0).permutation(len(planes)) % 5
    hits = []
    for held_out in range(5):
        labels = {row: plane for row, plane in enumerate(planes) if fold[row] != held_out}
        found = planes_of(assign_planes(features, labels))
        hits += [found[row] == planes[row] for row in range(len(planes)) if row not in labels]
    assert len(hits) == len(planes)
    assert np.mean(hits) >= 0.98
