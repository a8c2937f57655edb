"""Copies: synthetic images that are training images, mirrored or not, turned a little, re-encoded, blurred.

A search at 32 x 32 pixels names candidates, a registration at 128 x 128 verifies them. A copy must pass two measures:
the correlation of gray levels, which two heads of one size nearly pass, and the correlation of details, which only the
same slice does. Both thresholds were set on the Nickparvar images prepared as in the study this platform replays, with
its 2,400 synthetic ones, and lie in gaps of the distributions:

    correlation, of details                                      lowest       median       highest
    2,400 synthetic images, no copy among them                                .78, .35     .940, .758
    160 training images planted as copies: mirrored, turned by   .964, .969   .997, .998
      up to 10 degrees, JPEG of quality 30 to 95, blurred by up
      to 3 pixels of 256, +30 or -20 gray levels, contrast
      x 0.7 to 1.4, noise of 10 levels, enlarged from 64 pixels
    1,024 real Testing images: half are above both thresholds, for that set has leaked copies; 3 lie between .90 and
      .95 in details, 511 above

So no quantile of the Testing images can be a threshold; their share above the thresholds is reported instead.
Copies shifted by 5 pixels of 256 were found in 19 of 20 cases, by 9 pixels in 11 of 20: shifts are not searched.
Neighbouring slices of one scan are no copies here.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.copy_search import Candidates, mirror, pixel_vectors, search
from services.evaluator.audit.images import AuditImages, check_sides
from services.evaluator.audit.registration import VERIFY_PX, Match, match_images, shrink, turn
from shared.progress import NoProgress, Progress

LEAST_CORRELATION: Final = 0.95
LEAST_EDGE_CORRELATION: Final = 0.90
N_CANDIDATES: Final = 2

_SEARCH_BLUR_PX: Final = 1.0
_HOPELESS: Final = 0.5
"""Coarse correlation below which two images are no copies of each other, however they are registered."""
_QUANTILES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)

Entry = dict[str, Any]


def find_copies(
    synthetic: AuditImages,
    reference: AuditImages,
    baseline: AuditImages | None,
    *,
    seed: int = 0,  # noqa: ARG001 every check takes a seed; nothing is drawn here
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The nearest reference image of every synthetic one, and which of them are copies.

    Args:
        synthetic: images under test.
        reference: real images that the generator may have been trained on.
        baseline: fresh real images, which show what is usual without memorisation; None: there are none.
        seed: not used.
        progress: one unit for each synthetic and baseline image.

    Returns:
        "nearest": for each synthetic image its name, the nearest reference image, whether it must be mirrored left to
        right and by how many degrees the reference be turned counter-clockwise to match, and three correlations: of
        the registered pixels, of their details, and of the 32 x 32 pixels before registration. "copies": the entries
        above both thresholds, worst first. "summary" and "baseline": quantiles and the share above the thresholds.

    Raises:
        TooFewImages, ImageSizesDiffer, ConstantImages: see `check_sides`.
    """
    progress = progress or NoProgress()
    check_sides(synthetic, reference, baseline)
    total = len(synthetic) + (len(baseline) if baseline else 0)
    done = 0

    def count() -> None:
        nonlocal done
        progress.raise_if_cancelled()
        done += 1
        progress.update(done, total)

    reference_u8 = shrink(reference.images_u8, VERIFY_PX)
    nearest = find_nearest(synthetic, reference, reference_u8, count=count, check=progress.raise_if_cancelled)
    usual = None
    if baseline is not None:
        found = find_nearest(baseline, reference, reference_u8, count=count, check=progress.raise_if_cancelled)
        usual = summarise_nearest(found)
    copies = [entry for entry in nearest if is_copy(entry)]
    return {
        "nearest": nearest,
        "copies": sorted(copies, key=lambda entry: -entry["edge_correlation"]),
        "thresholds": {"correlation": LEAST_CORRELATION, "edge_correlation": LEAST_EDGE_CORRELATION},
        "summary": summarise_nearest(nearest),
        "baseline": usual,
    }


def find_nearest(
    images: AuditImages,
    reference: AuditImages,
    reference_u8: NDArray[np.uint8],
    *,
    same: bool = False,
    count: Callable[[], None] = lambda: None,
    check: Callable[[], None] = lambda: None,
) -> list[Entry]:
    """One entry for each image; see `find_copies`.

    Args:
        images: images to look up.
        reference: where to look.
        reference_u8: (m, 128, 128) uint8, the reference's images shrunk.
        same: `reference` begins with the very `images`, of which none is its own nearest.
        count: called once for each image.
        check: called often; what it raises ends the work.
    """
    images_u8 = shrink(images.images_u8, VERIFY_PX)
    candidates = search(images_u8, reference_u8, k=N_CANDIDATES, exclude_self=same, check=check)
    entries = []
    for row, name in enumerate(images.names):
        count()
        at, match = _verify(images_u8[row], reference_u8, candidates, row)
        mirrored, found = bool(candidates.mirrored[row, at]), int(candidates.rows[row, at])
        turned = turn(reference_u8[found], float(candidates.angles_deg[row, at]))
        upright = mirror(images_u8[row : row + 1]) if mirrored else images_u8[row : row + 1]
        first, second = pixel_vectors(np.stack([upright[0], turned]))
        entries.append(
            {
                "name": name,
                "nearest": reference.names[found],
                "mirrored": mirrored,
                "angle_deg": round(match.angle_deg, 1) + 0.0,
                "correlation": round(match.correlation, 4),
                "edge_correlation": round(match.edge_correlation, 4),
                "coarse_correlation": round(float(first @ second), 4),
            }
        )
    return entries


def group_repeats(images_u8: NDArray[np.uint8], check: Callable[[], None] = lambda: None) -> NDArray[np.int64]:
    """(n,) int64 group numbers: an image that is a copy of the first image of a group, by both measures, is in it.

    Mirrored copies have groups of their own. No chain leads on: the images of a group are all copies of its first one.

    Args:
        images_u8: (n, h, w) uint8, gray levels 0..255.
        check: called for every image; what it raises ends the search.
    """
    small = shrink(images_u8, VERIFY_PX)
    vectors = pixel_vectors(small, _SEARCH_BLUR_PX)
    groups, firsts, of_firsts = np.empty(len(small), np.int64), list[int](), np.empty_like(vectors)
    for row, vector in enumerate(vectors):
        check()
        coarse = of_firsts[: len(firsts)] @ vector
        likely = [number for number in np.argsort(-coarse, kind="stable")[:N_CANDIDATES] if coarse[number] >= _HOPELESS]
        matches = ((number, match_images(small[row], small[firsts[number]], 0.0)) for number in likely)
        repeated = (number for number, match in matches if _reaches(match.correlation, match.edge_correlation))
        groups[row] = next(repeated, len(firsts))
        if groups[row] == len(firsts):
            of_firsts[len(firsts)] = vector
            firsts.append(row)
    return groups


def is_copy(entry: Entry) -> bool:
    """Whether both correlations reach their thresholds."""
    return _reaches(entry["correlation"], entry["edge_correlation"])


def _reaches(correlation: float, edge_correlation: float) -> bool:
    return correlation >= LEAST_CORRELATION and edge_correlation >= LEAST_EDGE_CORRELATION


def summarise_nearest(nearest: list[Entry]) -> dict[str, Any]:
    """Quantiles of each correlation, and how many entries are above both thresholds."""
    measures = ("correlation", "edge_correlation", "coarse_correlation")
    values = {measure: np.array([entry[measure] for entry in nearest]) for measure in measures}
    n_above = sum(is_copy(entry) for entry in nearest)
    return {
        "n": len(nearest),
        "n_above": n_above,
        "share_above": n_above / len(nearest),
        "share_mirrored": float(np.mean([entry["mirrored"] for entry in nearest])),
        "quantiles": {
            measure: {f"{share:g}": round(float(np.quantile(numbers, share)), 4) for share in _QUANTILES}
            for measure, numbers in values.items()
        },
    }


def _verify(
    image: NDArray[np.uint8], reference_u8: NDArray[np.uint8], candidates: Candidates, row: int
) -> tuple[int, Match]:
    """Which candidate of an image agrees best after registration, by the sum of both correlations, and how well."""
    matches = []
    for at, found in enumerate(candidates.rows[row]):
        upright = np.ascontiguousarray(image[:, ::-1]) if candidates.mirrored[row, at] else image
        matches.append(match_images(upright, reference_u8[found], float(candidates.angles_deg[row, at])))
    best = max(range(len(matches)), key=lambda at: matches[at].correlation + matches[at].edge_correlation)
    return best, matches[best]
