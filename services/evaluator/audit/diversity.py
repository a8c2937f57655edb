"""Diversity: repeated images, the mix of planes, and how much of the real images' range the set covers."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.copy_search import pixel_vectors
from services.evaluator.audit.images import AuditImages, check_sides
from services.evaluator.audit.memorisation import Entry, find_nearest, is_copy
from services.evaluator.audit.plane_mix import compare_planes
from services.evaluator.audit.registration import VERIFY_PX, shrink
from shared.progress import NoProgress, Progress

N_COMPONENTS: Final = 32
N_NEIGHBOURS: Final = 5
"""The k of Naeem et al. 2020, section 4.1."""

COVERAGE_SPACE: Final = f"{N_COMPONENTS} principal components of the reference's 32 x 32 pixels of mean 0 and length 1"

Vectors = NDArray[np.float64]
Pair = tuple[int, int]
"""Rows of two images that repeat each other."""


def measure_diversity(
    synthetic: AuditImages,
    reference: AuditImages,
    baseline: AuditImages | None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Repeated images, planes and coverage of one class.

    Args:
        synthetic: images under test.
        reference: real images that the generator was to imitate.
        baseline: fresh real images; None: there are none.
        seed: of the folds that test the plane rule, and of the draw that makes the sides of a coverage equal in number.
        progress: one unit for each synthetic image.

    Returns:
        "duplicates": {"n_groups", "n_images" in them, "n_surplus" beyond the first of each, "groups" of names,
        "closest" pair}, by the measures of `find_copies`. "planes": see `compare_planes`; None with
        "planes_reason" where the reference has no planes. "coverage": {"synthetic", "baseline", "n", "k", "space"}.

    Raises:
        TooFewImages, ImageSizesDiffer, ConstantImages: see `check_sides`.
    """
    progress = progress or NoProgress()
    check_sides(synthetic, reference, baseline)
    duplicates = _find_repeats(synthetic, progress)
    progress.raise_if_cancelled()
    planes = compare_planes(synthetic, reference, baseline, seed)
    progress.raise_if_cancelled()
    coverage = _compare_coverage(synthetic, reference, baseline, seed)
    reason = None if planes else "The planes of the reference images are not known; preprocess the set with planes."
    return {"duplicates": duplicates, "planes": planes, "planes_reason": reason, "coverage": coverage}


def coverage_of(reference: Vectors, images: Vectors, k: int = N_NEIGHBOURS) -> float:
    """Share of the reference's points with at least one image nearer than their k-th nearest reference point.

    Coverage of Naeem et al. 2020 (arXiv:2002.09797, eq. 4). It depends on the number of images: compare equal numbers.

    Args:
        reference: (m, d) float64, m > k.
        images: (n, d) float64.
        k: neighbours that span a point's surroundings.
    """
    within = np.sort(_distances(reference, reference), axis=1)[:, k]  # column 0 is the point itself
    return float((_distances(reference, images).min(axis=1) <= within).mean())


def _find_repeats(synthetic: AuditImages, progress: Progress) -> dict[str, Any]:
    n, done = len(synthetic), 0

    def count() -> None:
        nonlocal done
        progress.raise_if_cancelled()
        done += 1
        progress.update(done, n)

    images_u8 = shrink(synthetic.images_u8, VERIFY_PX)
    check = progress.raise_if_cancelled
    nearest = find_nearest(synthetic, synthetic, images_u8, same=True, count=count, check=check)
    pairs = _merge_groups(synthetic, images_u8, _pairs_of(nearest, synthetic), check)
    members = _join(pairs, n)
    groups = [[synthetic.names[row] for row in rows] for rows in members]
    n_images = sum(map(len, groups))
    closest = max(nearest, key=lambda entry: float(entry["edge_correlation"]))
    return {
        "n": n,
        "n_groups": len(groups),
        "n_images": n_images,
        "n_surplus": n_images - len(groups),
        "groups": groups,
        "closest": closest,
    }


def _merge_groups(
    images: AuditImages, images_u8: NDArray[np.uint8], pairs: list[Pair], check: Callable[[], None]
) -> list[Pair]:
    """The pairs, and further ones between groups whose first images repeat each other, until there are none.

    Only the nearest of each image is known, which splits a large group: forty drawings of one image make seven. Each
    round looks up the groups that the round before has changed, so that all rounds together look up no more first
    images than there are images.

    Args:
        images: all images.
        images_u8: (n, 128, 128) uint8, the same, shrunk.
        pairs: rows of images that repeat each other.
        check: called often; what it raises ends the work.
    """
    groups = _join(pairs, len(images))
    changed = {rows[0] for rows in groups}
    while changed and len(groups) > 1:
        firsts = sorted((rows[0] for rows in groups), key=lambda row: row not in changed)
        reference = images.take(firsts)
        asked = reference.take(range(len(changed)))
        nearest = find_nearest(asked, reference, images_u8[firsts], same=True, check=check)
        found = [(firsts[a], firsts[b]) for a, b in _pairs_of(nearest, reference)]
        pairs = [*pairs, *found]
        groups = _join(pairs, len(images))
        touched = {row for pair in found for row in pair}
        changed = {rows[0] for rows in groups if touched & set(rows)}
    return pairs


def _pairs_of(nearest: list[Entry], reference: AuditImages) -> list[Pair]:
    """The rows of images and of the reference images that they are copies of; the images begin the reference."""
    row_of = {name: row for row, name in enumerate(reference.names)}
    return [(row, row_of[entry["nearest"]]) for row, entry in enumerate(nearest) if is_copy(entry)]


def _join(pairs: list[Pair], n: int) -> list[list[int]]:
    """The rows of each group that a chain of pairs holds together, ascending; images in no pair are left out."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return []
    first, second = np.array(pairs).T
    graph = coo_array((np.ones(len(pairs), bool), (first, second)), shape=(n, n))
    numbers = connected_components(graph, directed=False)[1]
    return [np.flatnonzero(numbers == number).tolist() for number in np.unique(numbers[first])]


def _compare_coverage(
    synthetic: AuditImages, reference: AuditImages, baseline: AuditImages | None, seed: int
) -> dict[str, Any] | None:
    """Coverage by the synthetic images, and by as many fresh real ones; None where the reference is too small."""
    if len(reference) <= N_NEIGHBOURS:
        return None
    vectors = pixel_vectors(reference.images_u8).astype(np.float64)
    mean = vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    axes = axes[:N_COMPONENTS]

    def project(images: AuditImages) -> Vectors:
        return np.asarray((pixel_vectors(images.images_u8) - mean) @ axes.T, np.float64)

    points, mine = project(reference), project(synthetic)
    found: dict[str, Any] = {"synthetic": round(coverage_of(points, mine), 4), "n_synthetic": len(synthetic)}
    found |= {"baseline": None, "synthetic_of_as_many": None, "n_baseline": None}
    if baseline is not None:
        generator = np.random.default_rng(seed)
        n = min(len(baseline), len(synthetic))
        fresh = project(baseline)[generator.permutation(len(baseline))[:n]]
        found["baseline"] = round(coverage_of(points, fresh), 4)
        found["synthetic_of_as_many"] = round(coverage_of(points, mine[generator.permutation(len(mine))[:n]]), 4)
        found["n_baseline"] = n
    return found | {"k": N_NEIGHBOURS, "space": COVERAGE_SPACE, "n_reference": len(reference)}


def _distances(a: Vectors, b: Vectors) -> Vectors:
    """(n, m) squared Euclidean distances."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0), np.float64)
