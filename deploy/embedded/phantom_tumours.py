"""The three tumours of the phantoms, which differ as the real ones do: within the brain, at the skull, in the sella."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from deploy.embedded.phantom_anatomy import (
    ENHANCING,
    FLUID,
    SIDE_PX,
    Field,
    Head,
    X,
    Y,
    ellipse_radius,
    inside,
    paint,
    smooth_noise,
)
from shared.tumour import TumourClass


def draw_tumour(head: Head, tumour_class: TumourClass, rng: np.random.Generator) -> Field:
    """The tissue levels of the head with a tumour of this class; unchanged for `notumor`."""
    draw: dict[TumourClass, Callable[[Head, np.random.Generator], Field]] = {
        TumourClass.GLIOMA: _add_glioma,
        TumourClass.MENINGIOMA: _add_meningioma,
        TumourClass.PITUITARY: _add_pituitary,
    }
    return draw[tumour_class](head, rng) if tumour_class in draw else head.levels


def _push_aside(head: Head, cx: float, cy: float, reach: float) -> Field:
    """The head's levels with the brain moved outward around (cx, cy), as a growing mass moves it; the skull stays."""
    dx, dy = X - cx, Y - cy
    pull = 0.55 * np.exp(-(dx**2 + dy**2) / (2 * reach**2))
    to_px = (SIDE_PX - 1) / 2
    rows, columns = (Y - pull * dy + 1) * to_px, (X - pull * dx + 1) * to_px
    moved = map_coordinates(head.levels, [rows, columns], order=1, mode="nearest")
    pushed: Field = head.levels + head.brain * (moved - head.levels)
    return pushed


def _pick(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    index = rng.integers(len(rows))
    return float(X[rows[index], columns[index]]), float(Y[rows[index], columns[index]])


def _add_glioma(head: Head, rng: np.random.Generator) -> Field:
    """Within the brain: an irregular enhancing ring around a dark core, in a field of edema."""
    cx, cy = _pick((head.depth > 0.22) & (np.abs(X) > 0.12) & (head.brain > 0.9), rng)
    size = rng.uniform(0.13, 0.24)
    levels = _push_aside(head, cx, cy, size)
    bumps = 0.16 * smooth_noise(rng, 8) + 0.10 * smooth_noise(rng, 16)
    radius = ellipse_radius(cx, cy, size, size * rng.uniform(0.7, 1.0), rng.uniform(0, 180)) + bumps
    edema = inside(radius / float(rng.uniform(1.5, 2.0)) + 0.22 * smooth_noise(rng, 9), 0.35) * head.brain
    paint(levels, 0.75 * edema, 0.26)
    paint(levels, inside(radius, 0.12) * head.brain, ENHANCING - 0.12 + 0.08 * smooth_noise(rng, 20))
    core = inside(radius / rng.uniform(0.55, 0.78) + 0.12 * smooth_noise(rng, 12), 0.2)
    paint(levels, core * head.brain, 0.20 + 0.04 * smooth_noise(rng, 20))
    return levels


def _add_meningioma(head: Head, rng: np.random.Generator) -> Field:
    """At the skull and outside the brain: a smooth, evenly bright mass on a broad base, with a tail along the dura."""
    cx, cy = _pick((np.abs(head.depth - 0.06) < 0.015) & (Y < 0.08), rng)
    size = rng.uniform(0.14, 0.25)
    levels = _push_aside(head, cx, cy, size)
    within = np.clip((head.depth + 0.015) / 0.02, 0.0, 1.0)
    radius = ellipse_radius(cx, cy, size, size * rng.uniform(0.8, 1.0), rng.uniform(0, 180)) + 0.04 * smooth_noise(
        rng, 5
    )
    paint(levels, inside(radius / 1.10, 0.06) * within, FLUID + 0.06)
    tail = np.exp(-((head.depth / 0.012) ** 2)) * inside(ellipse_radius(cx, cy, 1.7 * size, 1.7 * size), 0.3)
    paint(levels, tail, ENHANCING - 0.1)
    paint(levels, inside(radius, 0.06) * within, ENHANCING - 0.04 + 0.025 * smooth_noise(rng, 24))
    return levels


def _add_pituitary(head: Head, rng: np.random.Generator) -> Field:
    """In the sella, low in the middle: a small round mass, often with a waist as it grows upward."""
    cx, cy = head.sella[0] + rng.normal(0, 0.012), head.sella[1] + rng.normal(0, 0.015)
    size = rng.uniform(0.085, 0.15)
    levels = _push_aside(head, cx, cy, size)
    wobble = 0.05 * smooth_noise(rng, 10)
    lower = ellipse_radius(cx, cy + 0.35 * size, size, 0.85 * size) + wobble
    upper = ellipse_radius(cx, cy - 0.55 * size, 0.72 * size, 0.75 * size) + wobble
    mass = np.minimum(lower, upper) if rng.random() < 0.6 else ellipse_radius(cx, cy, size, size) + wobble
    paint(levels, inside(mass / 1.12, 0.08), FLUID)
    paint(levels, inside(mass, 0.1), ENHANCING - 0.10 + 0.04 * smooth_noise(rng, 24))
    return levels
