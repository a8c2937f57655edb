"""Rotations of the training images, drawn anew each epoch, so that the network sees each image upright too."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def draw_rotations(n: int, rotation_deg: float, chance: float, generator: Generator) -> Tensor:
    """Angles of one epoch, (n,) float32, degrees: uniform in +- `rotation_deg` for a share `chance` of them, else 0."""
    angles = (2 * torch.rand(n, generator=generator) - 1) * rotation_deg
    chosen = torch.rand(n, generator=generator) < chance
    return angles * chosen


def rotate_images(x: Tensor, angles_deg: Tensor, black: float) -> Tensor:
    """`x` with each image turned counterclockwise about its centre, bilinear, `black` where nothing was.

    Args:
        x: (N, 1, H, H) float32.
        angles_deg: (N,) float32, degrees, on the CPU, so that no GPU is waited for; images of angle 0 are not touched.
        black: the value of gray level 0 in `x`.
    """
    turned = angles_deg.nonzero().flatten()
    if not len(turned):
        return x
    angles = angles_deg[turned].deg2rad().to(x.device)
    turned = turned.to(x.device)
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Rows map output to input coordinates, y pointing down: the inverse rotation.
    matrices = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)  # (n, 2, 3)
    chosen = x[turned] - black
    grid = F.affine_grid(matrices, list(chosen.shape), align_corners=False)
    rotated = F.grid_sample(chosen, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return x.index_copy(0, turned, rotated + black)
