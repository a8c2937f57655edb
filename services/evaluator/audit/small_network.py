"""The one network of the usefulness check: ten layers, small enough to train from nothing in about a minute."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from shared.tumour import CLASS_ORDER

if TYPE_CHECKING:
    import torch
    from torch import nn

N_UPDATES: Final = 1400
"""Updates of every training, however many images there are, so that sets of different size compare."""

SHORTEST_CYCLE: Final = 6
"""Fewest updates that the learning rate's cycle is laid out for: the warm-up of five would be of no length, so that its
slope is not defined. A shorter training ends within the cycle."""

BATCH: Final = 64
_PEAK_RATE: Final = 3e-3
_WARM_UP: Final = 0.2
_WEIGHT_DECAY: Final = 1e-2
_LABEL_SMOOTHING: Final = 0.05
_SHIFT_PX: Final = 3
_TURN_DEG: Final = 8.0
_STAGES: Final = ((24, 2), (48, 2), (96, 2), (128, 3))  # channels and convolutions at 32, 16, 8 and 4 pixels


def build_network() -> "nn.Module":
    """Nine 3 x 3 convolutions with batch normalisation in four stages, global mean, one linear layer; 0.6 M weights.

    The first convolution takes every second pixel, which saves three quarters of the time.
    """
    from torch import nn

    layers: list[nn.Module] = []
    n_in = 1
    for number, (n_channels, n_convolutions) in enumerate(_STAGES):
        if number:
            layers.append(nn.MaxPool2d(2))
        for _ in range(n_convolutions):
            stride = 1 if layers else 2
            convolution = nn.Conv2d(n_in, n_channels, 3, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(n_channels), nn.ReLU()]
            n_in = n_channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, len(CLASS_ORDER)))


def train_network(
    images_unit: NDArray[np.float32],
    classes: NDArray[np.int64],
    seed: int,
    n_updates: int,
    after_update: Callable[[int, float], None],
) -> "nn.Module":
    """A network trained from seeded weights; the same seed, images and number of threads give the same weights.

    Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101) and one cycle of the learning rate
    (Smith and Topin 2019, arXiv:1708.07120). Every image is shifted by up to 3 pixels and turned by up to 8 degrees.
    Nothing is mirrored: a set that is mirrored by mistake must pay for it here, as it would in a user's training.

    Args:
        images_unit: (n, 64, 64) float32 in [0, 1].
        classes: (n,) int64 indices into `CLASS_ORDER`.
        seed: of the weights, the order of the images and the augmentation.
        n_updates: how many.
        after_update: called with the number of updates done and the loss; what it raises ends the training.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network().to(memory_format=torch.channels_last)
        images, truth = standardise(images_unit), torch.from_numpy(classes)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_PEAK_RATE, weight_decay=_WEIGHT_DECAY)
        n_steps = max(n_updates, SHORTEST_CYCLE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _PEAK_RATE, total_steps=n_steps, pct_start=_WARM_UP)
        loss_of = nn.CrossEntropyLoss(label_smoothing=_LABEL_SMOOTHING)
        order = torch.empty(0, dtype=torch.int64)
        for update in range(n_updates):
            while len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(images))])
            rows, order = order[:BATCH], order[BATCH:]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(network(_augment(images[rows])), truth[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            after_update(update + 1, float(loss.detach()))
    return network.eval()


def predict(network: "nn.Module", images_unit: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,) int64 indices into `CLASS_ORDER`.

    Args:
        network: a trained network.
        images_unit: (n, 64, 64) float32 in [0, 1].
    """
    import torch

    images = standardise(images_unit)
    with torch.inference_mode():
        parts = [network(images[start : start + 256]).argmax(dim=1).numpy() for start in range(0, len(images), 256)]
    return np.concatenate(parts).astype(np.int64)


def standardise(images_unit: NDArray[np.float32]) -> "torch.Tensor":
    """(n, 1, 64, 64) float32, each image with mean 0 and standard deviation 1: brightness alone teaches nothing."""
    import torch

    images = torch.from_numpy(np.ascontiguousarray(images_unit, dtype=np.float32))[:, None]
    deviation = images.std(dim=(1, 2, 3), keepdim=True).clamp_min(1e-3)
    return (images - images.mean(dim=(1, 2, 3), keepdim=True)) / deviation


def _augment(images: "torch.Tensor") -> "torch.Tensor":
    """Each image turned about its centre and shifted, linearly interpolated, borders repeated."""
    import torch
    from torch.nn import functional as F

    n, _, _, size_px = images.shape
    turn = (torch.rand(n) * 2 - 1) * (_TURN_DEG * torch.pi / 180)
    shift = (torch.rand(n, 2) * 2 - 1) * (2 * _SHIFT_PX / size_px)
    cos, sin = torch.cos(turn), torch.sin(turn)
    maps = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
