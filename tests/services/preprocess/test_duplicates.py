import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.preprocess.duplicates import (
    HashedImage,
    choose_patients,
    find_copies,
    find_crossing_patients,
    find_duplicates,
    find_label_conflicts,
    find_leaks,
    find_patients,
    hash_pixels,
)
from services.preprocess.near_duplicates import NearPair

IMAGES = [
    HashedImage("Training/glioma/a.png", "Training", "glioma", "1"),
    HashedImage("Training/glioma/b.png", "Training", "glioma", "1"),
    HashedImage("Training/notumor/c.png", "Training", "notumor", "1"),
    HashedImage("Training/glioma/d.png", "Training", "glioma", "2"),
    HashedImage("Testing/glioma/e.png", "Testing", "glioma", "1"),
    HashedImage("Testing/glioma/f.png", "Testing", "glioma", "3"),
]


def test_hash_sees_every_pixel_and_the_shape():
    zeros = np.zeros((4, 6), np.uint8)
    one = zeros.copy()
    one[3, 5] = 1
    assert len({hash_pixels(zeros), hash_pixels(one), hash_pixels(zeros.reshape(6, 4))}) == 3


def test_hash_does_not_depend_on_memory_layout():
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert hash_pixels(np.asfortranarray(pixels)) == hash_pixels(pixels)
    assert hash_pixels(pixels[:, ::-1]) == hash_pixels(pixels[:, ::-1].copy())


def test_duplicates_stay_within_their_split_and_the_first_is_kept():
    (group,) = find_duplicates(IMAGES)
    assert group.kept == "Training/glioma/a.png"
    assert group.removed == ("Training/glioma/b.png", "Training/notumor/c.png")


def test_a_group_names_the_classes_it_mixes():
    (group,) = find_duplicates(IMAGES)
    assert group.classes == ("glioma", "notumor")


def test_a_leak_names_both_images():
    (leak,) = find_leaks(find_copies(IMAGES))
    assert (leak.testing, leak.training) == ("Testing/glioma/e.png", "Training/glioma/a.png")
    assert leak.exact
    assert leak.correlation == 1.0


def test_a_leak_names_the_best_match_and_how_to_turn_it():
    pairs = [NearPair(0, 5, 0.987, "none"), NearPair(3, 5, 0.999, "left-right")]
    leaks = {leak.testing[-5:]: leak for leak in find_leaks(find_copies(IMAGES, pairs))}
    assert leaks["f.png"].training == "Training/glioma/d.png"
    assert (leaks["f.png"].mirror, leaks["f.png"].exact) == ("left-right", False)
    assert leaks["e.png"].exact


def test_a_chain_of_copies_leaks_too():
    images = [
        HashedImage("Training/a", "Training", "glioma", "1"),
        HashedImage("Testing/b", "Testing", "glioma", "2"),
        HashedImage("Testing/c", "Testing", "glioma", "3"),
    ]
    pairs = [NearPair(0, 1, 0.99, "none"), NearPair(1, 2, 0.99, "none")]
    chained = find_leaks(find_copies(images, pairs))[1]
    assert (chained.testing, chained.training, chained.correlation) == ("Testing/c", "Training/a", None)


def test_only_images_that_stay_can_leak():
    pairs = [NearPair(3, 5, 0.999, "none")]
    copies = find_copies(IMAGES, pairs)
    assert find_leaks(copies, {"Training/glioma/a.png", "Testing/glioma/f.png"}) == []
    assert len(find_leaks(copies, {"Training/glioma/d.png", "Testing/glioma/f.png"})) == 1


def test_images_without_a_split_are_no_leak():
    images = [HashedImage("a", None, None, "1"), HashedImage("b", None, None, "1")]
    assert find_leaks(find_copies(images)) == []


def test_a_chain_of_copies_has_the_patients_of_all_its_members():
    images = [
        HashedImage("a", None, "glioma", "1"),
        HashedImage("b", "Training", "glioma", "2", "p1"),
        HashedImage("c", "Training", "glioma", "3", "p2"),
        HashedImage("d", "Testing", "glioma", "4", "p1"),
        HashedImage("e", "Testing", "glioma", "5", "p2"),
        HashedImage("f", "Testing", "glioma", "6", "p3"),
    ]
    pairs = [NearPair(0, 1, 0.99, "none"), NearPair(1, 2, 0.99, "none")]
    p1, p2 = frozenset(["p1"]), frozenset(["p2"])
    assert find_crossing_patients(find_copies(images, pairs), {"a", *"def"}) == {"a": p1 | p2, "d": p1, "e": p2}
    assert find_crossing_patients(find_copies(images), {"a", *"def"}) == {}
    assert find_crossing_patients(find_copies(images), {"b", "d", "e"}) == {"b": p1, "d": p1}
    assert find_crossing_patients(find_copies(images)).keys() == set("bcde")


def test_a_person_s_word_of_a_copy_counts_more_than_what_is_a_slice_of_what():
    """Volume v of three slices, of which a picture copies the second; w, of which people named two patients."""
    slices = [HashedImage(f"v{k}", "Training", "glioma", f"v{k}", "v", "v") for k in range(3)]
    two = [HashedImage(f"w{k}", "Training", "glioma", f"w{k}", patient, "w") for k, patient in enumerate("pqw")]
    loose = HashedImage("x", "Training", "glioma", "v1")
    kept = choose_patients(find_copies([*slices, *two, loose]))
    assert kept == {"v0": "v", "v1": "v", "v2": "v", "w0": "p", "w1": "q", "w2": "w", "x": "v"}
    named = HashedImage("x", "Training", "glioma", "v1", "p7")
    kept = choose_patients(find_copies([*slices, *two, named]))
    assert kept == {"v0": "p7", "v1": "p7", "v2": "p7", "w0": "p", "w1": "q", "w2": "w", "x": "p7"}


@given(st.lists(st.tuples(*[st.sampled_from(choices) for choices in ("12345678", (None, *"pq"), (None, *"vw"))])))
def test_who_is_written_down_is_among_those_whom_the_search_for_leaks_knows(drawn):
    images = [
        HashedImage(str(k), "Training", "glioma", pixels, patient or volume, volume)
        for k, (pixels, patient, volume) in enumerate(drawn)
    ]
    copies = find_copies(images)
    found = find_patients(copies)
    for name, patient in choose_patients(copies).items():
        assert patient in found[name] or (patient is None and not found[name])


def test_conflicts_are_copies_with_two_classes():
    copies = find_copies(IMAGES, [NearPair(3, 5, 0.999, "none")])
    (names,) = find_label_conflicts(copies, exact=True)
    assert "Training/notumor/c.png" in names
    assert find_label_conflicts(copies, exact=False) == [names]  # d and f are copies of one class


@given(st.lists(st.tuples(st.sampled_from(["Training", "Testing", None]), st.integers(0, 5))))
def test_removing_the_removed_leaves_every_image_once(drawn):
    images = [HashedImage(str(index), split, None, str(key)) for index, (split, key) in enumerate(drawn)]
    removed = {name for group in find_duplicates(images) for name in group.removed}
    left = [(image.split, image.pixel_hash) for image in images if image.name not in removed]
    assert len(left) == len(set(left))
    assert set(left) == {(image.split, image.pixel_hash) for image in images}
