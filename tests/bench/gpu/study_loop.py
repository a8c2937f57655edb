"""The study's loop as it was: its network, its DataLoader, its update, its drawing of one image at a time.

From its notebooks, which follow MONAI's tutorial of a 2-D DDPM: MONAI's network without fused attention, in the usual
memory layout, under float16 autocast with a scaled loss, Adam, images decoded and scaled one by one, noise and
timesteps from the global generator, `DiffusionInferer` for both. The images are plain tensors, without MONAI's wrapper,
which costs time at every operation; so the study's loop is not made slower than it was.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from monai.inferers.inferer import DiffusionInferer
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from monai.networks.schedulers.ddpm import DDPMScheduler
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from services.generator.models.preset import Preset

BATCH: Final = 16
_LEARNING_RATE: Final = 2.5e-5
_TRAIN_STEPS: Final = 1000


class _Files(Dataset[Tensor]):
    """Gray JPEGs, each decoded, transposed as MONAI's reader does, and scaled to [0, 1] whenever it is asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, position: int) -> Tensor:
        with Image.open(self._paths[position]) as image:
            pixels = np.asarray(image.convert("L"), dtype=np.float32).T
        return torch.from_numpy(np.clip(pixels / 255, 0, 1)).unsqueeze(0)


class StudyLoop:
    """The study's training and drawing on `device`, learning the images in `paths`."""

    def __init__(self, preset: Preset, paths: list[Path], n_workers: int, device: torch.device) -> None:
        unet = preset.unet
        self._device, self._size_px = device, preset.size_px
        # A CPU has no scaled float16; there it is only seen whether the program works.
        self.dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
        self._network = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            channels=unet.channels,
            attention_levels=unet.attention_levels,
            num_res_blocks=unet.res_blocks,
            num_head_channels=unet.head_channels,
            norm_num_groups=unet.norm_groups,
        ).to(device)
        self._inferer = DiffusionInferer(DDPMScheduler(num_train_timesteps=_TRAIN_STEPS))
        self._drawing = DDPMScheduler(num_train_timesteps=_TRAIN_STEPS)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=_LEARNING_RATE)
        self._scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self._loader = DataLoader(
            _Files(paths),
            batch_size=BATCH,
            shuffle=True,
            num_workers=n_workers,
            persistent_workers=n_workers > 0,
        )
        self._batches: Iterator[Tensor] = iter(())

    def update(self) -> int:
        """Make one update; the number of images it saw."""
        self._network.train()
        images = self._next_batch().to(self._device)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, self.dtype):
            noise = torch.randn_like(images)
            timesteps = torch.randint(0, _TRAIN_STEPS, (len(images),), device=self._device)
            predicted = self._inferer(inputs=images, diffusion_model=self._network, noise=noise, timesteps=timesteps)
            loss = F.mse_loss(predicted.float(), noise.float())
        self._scaler.scale(loss).backward()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        loss.item()  # added to the mean of the epoch
        return len(images)

    @torch.no_grad()
    def draw(self, steps: int) -> Tensor:
        """One image, (1, 1, H, W) on the CPU, in `steps` steps of which each costs what one of the study's 1000 did."""
        self._network.eval()
        self._drawing.set_timesteps(steps)
        noise = torch.randn(1, 1, self._size_px, self._size_px, device=self._device)
        with torch.autocast(self._device.type, self.dtype):
            drawn: Tensor = self._inferer.sample(noise, self._network, self._drawing, verbose=False)
        return drawn.cpu()

    def _next_batch(self) -> Tensor:
        batch = next(self._batches, None)
        if batch is None:
            self._batches = iter(self._loader)
            batch = next(self._batches)
        return batch
