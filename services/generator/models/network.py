"""The noise predictor: a MONAI `DiffusionModelUNet`, built from a `UNetConfig`."""

import torch
import torch.nn.functional as F
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor, nn

from services.generator.models.preset import Precision, UNetConfig


class NoisePredictor(DiffusionModelUNet):
    """MONAI's UNet on images whose p x p patches are folded into channels (arXiv:2301.11093, section 3.3).

    With p = 1 nothing is folded. The weights have MONAI's own names, so that MONAI alone can load them into a
    `DiffusionModelUNet` of p * p channels.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(
            spatial_dims=2,
            in_channels=config.patch_px**2,
            out_channels=config.patch_px**2,
            channels=config.channels,
            attention_levels=config.attention_levels,
            num_res_blocks=config.res_blocks,
            num_head_channels=config.head_channels,
            norm_num_groups=config.norm_groups,
            num_class_embeds=config.n_classes + 1 if config.n_classes else None,  # the last one: class withheld
            use_flash_attention=config.fused_attention,
        )
        self.patch_px = config.patch_px
        self.n_classes = config.n_classes

    def forward(  # type: ignore[override]  # No other inputs here.
        self, x_t: Tensor, timesteps: Tensor, classes: Tensor | None = None
    ) -> Tensor:
        """Predicted noise (or velocity), (N, 1, H, W), in x_t.

        Args:
            x_t: (N, 1, H, W) float32.
            timesteps: (N,) int64 in 0..T-1.
            classes: (N,) int64 in 0..n_classes, where n_classes means that the class is withheld; only, and always,
                for a class-conditional network.
        """
        folded = F.pixel_unshuffle(x_t, self.patch_px)  # (N, p^2, H/p, W/p)
        return F.pixel_shuffle(super().forward(folded, timesteps, class_labels=classes), self.patch_px)


def build_network(config: UNetConfig, seed: int = 0) -> NoisePredictor:
    """A fresh network whose initial weights depend on `seed` only; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NoisePredictor(config)


def place_network(network: nn.Module, device: torch.device) -> nn.Module:
    """`network` on `device`, in the memory layout that its convolutions want there."""
    if device.type == "cuda":
        # Tensor cores want channels last; on a CPU it gains nothing.
        return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
    return network.to(device)


def choose_device() -> torch.device:
    """The first CUDA device, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def training_dtype(device: torch.device, precision: Precision = "auto") -> torch.dtype:
    """The arithmetic of the network under autocast; weights and loss stay float32 whatever it is.

    `auto` is bfloat16 where the hardware multiplies it natively, else float32: on a CPU without AVX512-BF16 the
    conversion costs more than it saves. float16 needs its loss scaled, which only a GPU does here.
    """
    if precision == "float16":
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision == "auto":
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            native = torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
