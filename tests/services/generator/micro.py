"""A diffusion model small enough to train in a test, and a Progress that remembers and interrupts."""

import numpy as np
import torch
from torch import Tensor

from services.generator.images import ImageU8
from services.generator.models.network import NoisePredictor, build_network
from services.generator.models.preset import Preset, ScheduleConfig, UNetConfig
from shared.progress import Cancelled
from shared.tumour import CLASS_ORDER

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


def conditional(preset: Preset) -> Preset:
    """`preset` for one network that knows all four classes."""
    unet = preset.unet.model_copy(update={"n_classes": len(CLASS_ORDER)})
    return preset.model_copy(update={"unet": unet, "classes": CLASS_ORDER})


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


def read_alpha_bar(schedule: ScheduleConfig) -> Tensor:
    """(T,) float64 alpha_bar, from the formulas: eq. 4 of arXiv:2006.11239, or eq. 17 of arXiv:2102.09672."""
    steps = schedule.train_steps
    if schedule.betas == "linear":
        betas = torch.linspace(schedule.beta_start, schedule.beta_end, steps, dtype=torch.float64)
    else:
        f = ((torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * torch.pi / 2).cos().square()
        betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, 0)


class GaussianPredictor(torch.nn.Module):
    """The best eps (or v) where the data are Gaussian with these pixel variances, (1, 1, H, W) float64, and one mean.

    Then E[x_0 | x_t] is linear in x_t, and the probability flow of Song et al. 2021 (arXiv:2011.13456, eq. 13) has a
    closed form: it keeps each pixel's distance from the mean in units of the marginal's standard deviation.
    """

    def __init__(self, variances: Tensor, schedule: ScheduleConfig, mean: float = 0.0) -> None:
        super().__init__()
        self.variances, self.mean, self.prediction = variances, mean, schedule.prediction
        self.alpha_bar = read_alpha_bar(schedule)

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        alpha_bar = self.alpha_bar[timesteps].view(-1, 1, 1, 1)
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        marginal = alpha_bar * self.variances + 1 - alpha_bar
        eps = sigma / marginal * (x_t - alpha * self.mean)
        if self.prediction == "epsilon":
            return eps.float()
        return ((eps - sigma * x_t) / alpha).float()  # v = (eps - sigma x_t) / alpha, from x_t and x_0

    def flow(self, x_t: Tensor) -> Tensor:
        """Where the exact flow takes `x_t` of the last time: x_0 with sigma = 0."""
        alpha_bar = self.alpha_bar[-1]
        marginal = alpha_bar * self.variances + 1 - alpha_bar
        return (self.mean + (self.variances / marginal).sqrt() * (x_t - alpha_bar.sqrt() * self.mean)).float()


class PerfectPredictor(torch.nn.Module):
    """The eps (or v) that is truly in x_t when the clean image is `x_0`: eq. 4 of arXiv:2006.11239 solved for eps."""

    def __init__(self, x_0: Tensor, schedule: ScheduleConfig) -> None:
        super().__init__()
        self.x_0 = x_0
        self.prediction = schedule.prediction
        self.alpha_bar = read_alpha_bar(schedule)

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
