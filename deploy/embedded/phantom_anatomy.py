"""Brain phantoms as arrays: heads without a tumour, in three planes.

A phantom is a drawing that looks like a contrast-enhanced T1 slice, for demos and tests where no real data is at hand.
It carries no anatomy to measure. Coordinates run from -1 (left, top) to 1 (right, bottom) on a grid of SIDE_PX pixels;
tissue levels are relative T1 signal in [0, 1]: air 0, fluid 0.12, gray matter 0.42, white matter 0.58, fat 0.75.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.tumour import Plane

Field = NDArray[np.floating[Any]]
"""(SIDE_PX, SIDE_PX) float32; masks and tissue levels in [0, 1], coordinates in [-1, 1]."""

SIDE_PX = 256
FLUID, BONE, GRAY, WHITE, FAT, ENHANCING = 0.12, 0.07, 0.38, 0.58, 0.72, 0.90
_AXIS = np.linspace(-1, 1, SIDE_PX, dtype=np.float32)
Y, X = np.meshgrid(_AXIS, _AXIS, indexing="ij")


@dataclass(frozen=True)
class Head:
    """A head without a tumour.

    Attributes:
        levels: tissue levels in [0, 1].
        brain: mask of the brain, ventricles included.
        depth: distance below the brain's surface, relative to the head's radius; negative outside.
        sella: where the pituitary gland sits, (x, y).
    """

    levels: Field
    brain: Field
    depth: Field
    sella: tuple[float, float]


def draw_head(plane: Plane, rng: np.random.Generator, low: bool = False) -> Head:
    """A head of this plane; `low` puts an axial slice at the skull base, where the pituitary gland is."""
    if plane == Plane.AXIAL:
        return _draw_axial_base(rng) if low else _draw_axial(rng)
    return _draw_coronal(rng) if plane == Plane.CORONAL else _draw_sagittal(rng)


def smooth_noise(rng: np.random.Generator, cells: int) -> Field:
    """Noise of mean 0 and deviation 1 whose blobs are 2 / cells wide."""
    coarse = Image.fromarray(rng.standard_normal((cells + 2, cells + 2)).astype(np.float32))
    noise = np.asarray(coarse.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, box=(1, 1, cells + 1, cells + 1)))
    return np.asarray((noise - noise.mean()) / noise.std())


def ellipse_radius(
    cx: float, cy: float, a: float, b: float, tilt_deg: float = 0.0, grid: tuple[Field, Field] = (X, Y)
) -> Field:
    """Elliptic distance from (cx, cy): 1 on the ellipse of half-axes a and b."""
    dx, dy = grid[0] - cx, grid[1] - cy
    cos, sin = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    return np.asarray(np.hypot((dx * cos + dy * sin) / a, (-dx * sin + dy * cos) / b))


def inside(radius: Field, edge: float = 0.04) -> Field:
    """A mask of radius < 1 with an edge about `edge` wide."""
    mask: Field = np.clip((1.0 - radius) / edge + 0.5, 0.0, 1.0)
    return mask


def paint(levels: Field, mask: Field, level: float | Field) -> None:
    """Blend `level` over `levels`, in place."""
    levels += mask * (level - levels)


def _wobble(rng: np.random.Generator) -> tuple[Field, Field]:
    """The coordinates, gently bent, so that no two outlines agree."""
    return X + 0.018 * smooth_noise(rng, 4), Y + 0.018 * smooth_noise(rng, 4)


def _start_head(rng: np.random.Generator, radius: Field, cut: Field) -> tuple[Field, Field, Field]:
    """Scalp, skull and a folded cortex inside: levels, brain mask and depth.

    Args:
        rng: draws the folds.
        radius: 1 on the outer skin of the cranium.
        cut: mask of where the cranium's lower border lets the brain be.
    """
    levels = np.zeros_like(X)
    marrow = smooth_noise(rng, 30)
    paint(levels, inside(radius), FAT + 0.05 * marrow)
    paint(levels, inside(radius / 0.955, 0.02), BONE)
    paint(levels, inside(radius / 0.93, 0.02) * (1 - inside(radius / 0.91, 0.02)), 0.3 + 0.05 * marrow)
    paint(levels, inside(radius / 0.885, 0.02), FLUID)
    depth = np.minimum(0.865 - radius, cut)
    brain = np.clip(depth / 0.02 + 0.5, 0.0, 1.0)
    folds, ribbon = smooth_noise(rng, 24), smooth_noise(rng, 9)
    outer = np.clip((0.30 + 0.05 * ribbon - depth) / 0.22, 0.0, 1.0)
    white = np.clip((depth - 0.06 - 0.015 * ribbon) / 0.03, 0.0, 1.0)
    white *= 1 - 0.9 * outer * np.exp(-((folds / 0.7) ** 2))
    paint(levels, brain, GRAY + (WHITE - GRAY) * white + 0.012 * marrow)
    paint(levels, brain * np.clip(outer * 1.2, 0, 1) * np.exp(-((folds / 0.22) ** 2)), FLUID + 0.04)
    return levels, brain, depth


def _draw_axial(rng: np.random.Generator) -> Head:
    gx, gy = _wobble(rng)
    a, b = rng.uniform(0.68, 0.76), rng.uniform(0.86, 0.93)
    radius = ellipse_radius(0, 0, a, b, grid=(gx * (1 - 0.10 * gy), gy))
    levels, brain, depth = _start_head(rng, radius, np.ones_like(X))
    paint(levels, brain * np.exp(-((gx / 0.012) ** 2)) * inside(1.25 - np.abs(gy), 0.3), FLUID)
    horn, lift = rng.uniform(0.8, 1.35), rng.uniform(-0.05, 0.05)
    for side in (-1.0, 1.0):
        paint(
            levels, inside(ellipse_radius(side * 0.17, 0.02 + lift, 0.10, 0.17, side * 14, (gx, gy)), 0.15), GRAY + 0.04
        )
        paint(levels, inside(ellipse_radius(side * 0.28, 0.02 + lift, 0.05, 0.19, side * -8, (gx, gy)), 0.2), GRAY)
        front = ellipse_radius(side * 0.085, -0.20 + lift, 0.042 * horn, 0.15, side * 24, (gx, gy))
        body = ellipse_radius(side * 0.05, -0.04 + lift, 0.028 * horn, 0.14, side * -4, (gx, gy))
        back = ellipse_radius(side * 0.17, 0.28 + lift, 0.05 * horn, 0.15, side * -30, (gx, gy))
        paint(levels, inside(np.minimum(np.minimum(front, back), body), 0.2), FLUID)
    return Head(levels, brain, depth, (0.0, -0.08))


def _draw_axial_base(rng: np.random.Generator) -> Head:
    gx, gy = _wobble(rng)
    radius = ellipse_radius(0, 0, rng.uniform(0.68, 0.76), rng.uniform(0.86, 0.93), grid=(gx * (1 - 0.12 * gy), gy))
    levels, brain, depth = _start_head(rng, radius, np.ones_like(X))
    paint(levels, brain * np.exp(-((gx / 0.012) ** 2)) * inside(gy + 1.2, 0.2), FLUID)
    for side in (-1.0, 1.0):
        sylvian = ellipse_radius(side * 0.36, -0.16, 0.26, 0.035, side * 18, (gx, gy))
        paint(levels, brain * inside(sylvian, 0.5), FLUID)
    paint(levels, inside(ellipse_radius(0, 0.50, 0.46, 0.29, grid=(gx, gy)), 0.05) * brain, _folia(gx, gy - 0.35, rng))
    paint(levels, inside(ellipse_radius(0, -0.06, 0.19, 0.14, grid=(gx, gy)), 0.2), FLUID)
    paint(levels, inside(ellipse_radius(0, 0.16, 0.17, 0.15, grid=(gx, gy)), 0.08), WHITE - 0.04)
    paint(levels, inside(ellipse_radius(0, 0.32, 0.045, 0.03, grid=(gx, gy)), 0.2), FLUID)
    return Head(levels, brain, depth, (0.0, -0.06))


def _folia(gx: Field, gy: Field, rng: np.random.Generator) -> Field:
    """The fine leaves of a cerebellum around (0, 0)."""
    leaves = np.sin(95 * np.hypot(gx, 1.6 * gy) + 3.0 * smooth_noise(rng, 7)) + 0.6 * smooth_noise(rng, 30)
    return np.asarray(GRAY + 0.06 + 0.05 * leaves)


def _add_soft_tissue(levels: Field, mask: Field, rng: np.random.Generator) -> None:
    """Face and neck behind everything drawn so far: strands of muscle, fat between them, airways, a rim of skin."""
    strands = smooth_noise(rng, 20) + 0.5 * smooth_noise(rng, 44)
    fat = np.clip((strands - 0.5) / 0.5, 0, 1)
    air = np.clip((smooth_noise(rng, 9) - 1.2) / 0.15, 0, 1)
    tissue = (0.22 + 0.22 * fat + 0.03 * smooth_noise(rng, 60)) * (1 - air) + 0.03 * air
    tissue = np.where((mask > 0.05) & (mask < 0.9), FAT, tissue)
    paint(levels, mask * np.clip((0.06 - levels) / 0.05, 0, 1), tissue)


def _open_base(levels: Field, radius: Field, floor: Field, rng: np.random.Generator) -> None:
    """Take scalp and skull away below the brain, where face and neck go on, and draw the bone of the skull base."""
    below = np.clip((-0.03 - floor) / 0.04, 0, 1) * inside(radius, 0.02)
    paint(levels, below, 0.0)
    base = np.exp(-(((floor + 0.05) / 0.022) ** 2)) * inside(radius / 0.93, 0.03)
    paint(levels, base, 0.30 + 0.06 * smooth_noise(rng, 40))


def _draw_coronal(rng: np.random.Generator) -> Head:
    gx, gy = _wobble(rng)
    radius = ellipse_radius(0, -0.14, rng.uniform(0.68, 0.76), rng.uniform(0.74, 0.80), grid=(gx, gy))
    floor = 0.40 - gy - 0.16 * np.exp(-((gx / 0.22) ** 2)) + 0.03 * smooth_noise(rng, 6)
    levels, brain, depth = _start_head(rng, radius, np.clip(floor, -1.0, 1.0))
    paint(levels, brain * np.exp(-((gx / 0.012) ** 2)) * inside(gy + 1.25, 0.2), FLUID)
    horn = rng.uniform(0.8, 1.4)
    for side in (-1.0, 1.0):
        paint(levels, inside(ellipse_radius(side * 0.17, 0.0, 0.10, 0.12, grid=(gx, gy)), 0.2), GRAY + 0.03)
        paint(levels, inside(ellipse_radius(side * 0.10, -0.15, 0.035 * horn, 0.11, side * -38, (gx, gy)), 0.2), FLUID)
        paint(levels, brain * inside(ellipse_radius(side * 0.46, 0.06, 0.18, 0.03, side * 20, (gx, gy)), 0.5), FLUID)
    paint(levels, inside(ellipse_radius(0, 0.06, 0.018, 0.09, grid=(gx, gy)), 0.3), FLUID)
    neck = inside(ellipse_radius(0, 0.55, 0.56, 0.75, grid=(gx, gy)), 0.05)
    _open_base(levels, radius, floor, rng)
    _add_soft_tissue(levels, np.maximum(neck, 0.95 * inside(radius / 0.9)), rng)
    paint(levels, inside(ellipse_radius(0, 0.42, 0.10, 0.20, grid=(gx, gy)), 0.12), WHITE - 0.04)
    paint(levels, inside(ellipse_radius(0, 0.85, 0.055, 0.45, grid=(gx, gy)), 0.2), WHITE - 0.06)
    return Head(levels, brain, depth, (0.0, 0.27))


def _draw_sagittal(rng: np.random.Generator) -> Head:
    gx, gy = _wobble(rng)
    radius = ellipse_radius(0.06, -0.20, rng.uniform(0.78, 0.86), rng.uniform(0.66, 0.72), grid=(gx, gy))
    floor = 0.22 - gy + 0.30 * np.clip(gx, -0.35, 0.6) + 0.02 * smooth_noise(rng, 6)
    levels, brain, depth = _start_head(rng, radius, np.clip(floor, -1.0, 1.0))
    _open_base(levels, radius, floor, rng)
    face = np.maximum(
        inside(ellipse_radius(-0.42, 0.42, 0.34, 0.52, grid=(gx, gy)), 0.08),
        inside(ellipse_radius(0.18, 0.62, 0.44, 0.66, grid=(gx, gy)), 0.06),
    )
    nose = inside(ellipse_radius(-0.78, 0.40, 0.10, 0.13, -30, (gx, gy)), 0.1)
    _add_soft_tissue(levels, np.maximum(np.maximum(face, nose), 0.95 * inside(radius / 0.9)), rng)
    ring = ellipse_radius(-0.02, -0.10, 0.34, 0.21, -6, (gx, gy))
    paint(levels, inside(ring, 0.1) * np.clip((0.0 - gy) / 0.05, 0, 1), FLUID)
    paint(levels, inside(np.abs(ring - 1) / 0.16, 0.3) * np.clip((0.02 - gy) / 0.05, 0, 1), WHITE + 0.16)
    paint(levels, inside(ellipse_radius(0.04, 0.02, 0.17, 0.11, grid=(gx, gy)), 0.15), GRAY + 0.08)
    paint(levels, inside(ellipse_radius(0.47, 0.30, 0.25, 0.20, 12, (gx, gy)), 0.08), _folia(gx - 0.25, gy - 0.28, rng))
    paint(levels, inside(ellipse_radius(0.27, 0.80, 0.085, 0.50, -6, (gx, gy)), 0.15), WHITE)
    paint(levels, inside(ellipse_radius(0.13, 0.28, 0.12, 0.15, -15, (gx, gy)), 0.1), WHITE)
    paint(levels, inside(ellipse_radius(0.245, 0.30, 0.03, 0.07, -20, (gx, gy)), 0.3), FLUID)
    return Head(levels, brain, depth, (-0.11, 0.24))
