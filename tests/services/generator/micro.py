"""A diffusion model small enough to train in a test, and a Progress that remembers and interrupts."""

import numpy as np
import torch
from torch import Tensor

from services.generator.images import ImageU8
from services.generator.network import NoisePredictor, build_network
from services.generator.preset import Preset, ScheduleConfig, UNetConfig
from shared.progress import Cancelled

MICRO = Preset(
    name="micro",
    unet=UNetConfig(channels=(8, 16), attention_levels=(False, True), head_channels=8, norm_groups=4, patch_px=2),
    size_px=16,
    learning_rate=2e-3,
    batch_size=4,
    warmup_updates=2,
    cooldown_share=0.3,
    epochs=3,
    ema_decay=0.9,
)


def random_network(seed: int = 0, config: UNetConfig = MICRO.unet) -> NoisePredictor:
    """A network whose zero-initialised layers are random too, so that its output says something."""
    network = build_network(config, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05, generator=generator)
    return network


def draw_images(n: int = 10, size_px: int = 16, seed: int = 0) -> ImageU8:
    """Asymmetric bright blobs on black, (n, size_px, size_px) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] / size_px
    centres = rng.uniform(0.2, 0.5, (n, 2, 1, 1))
    blobs = np.exp(-((y - centres[:, 0]) ** 2 / 0.02 + (x - 1.5 * centres[:, 1]) ** 2 / 0.06))
    return (blobs * 250).astype(np.uint8)


class PerfectPredictor(torch.nn.Module):
    """The eps (or v) that is truly in x_t when the clean image is `x_0`: eq. 4 of arXiv:2006.11239 solved for eps."""

    def __init__(self, x_0: Tensor, schedule: ScheduleConfig) -> None:
        super().__init__()
        self.x_0 = x_0
        self.prediction = schedule.prediction
        betas = torch.linspace(schedule.beta_start, schedule.beta_end, schedule.train_steps, dtype=torch.float64)
        self.alpha_bar = torch.cumprod(1 - betas, 0)

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        alpha_bar = self.alpha_bar[timesteps].view(-1, 1, 1, 1)
        eps = (x_t - alpha_bar.sqrt() * self.x_0) / (1 - alpha_bar).sqrt()
        if self.prediction == "v_prediction":
            return (alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * self.x_0).float()
        return eps.float()


class Recorder:
    """Progress that keeps what it is told and cancels at the given call of `raise_if_cancelled`, counted from 0."""

    def __init__(self, stop_at: int | None = None, how: type[Exception] = Cancelled) -> None:
        self.stop_at, self.how = stop_at, how
        self.asked = 0
        self.updates: list[tuple[int, int]] = []
        self.notes: list[dict[str, float | int | str]] = []

    def update(self, done: int, total: int) -> None:
        self.updates.append((done, total))

    def note(self, **facts: float | int | str) -> None:
        self.notes.append(facts)

    def raise_if_cancelled(self) -> None:
        self.asked += 1
        if self.stop_at is not None and self.asked > self.stop_at:
            raise self.how
