from typing import Any

import pytest
import torch

from services.generator.models.footprint import PresetTooLarge, check_footprint, estimate_parameters, measure_attention
from services.generator.models.network import build_network
from services.generator.models.preset import UNetConfig
from services.generator.models.presets import PRESETS, STUDY
from tests.services.generator.micro import MICRO

DEEP = UNetConfig(
    channels=(32, 64, 64, 96), attention_levels=(False, True, False, True), head_channels=16, res_blocks=3
)


@pytest.mark.parametrize("unet", [*(preset.unet for preset in PRESETS.values()), DEEP])
def test_parameters_are_estimated_within_three_per_cent(unet: UNetConfig) -> None:
    with torch.device("meta"):
        network = build_network(unet)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert estimate_parameters(unet) == pytest.approx(n_parameters, rel=0.03)


@pytest.mark.parametrize("preset", [*PRESETS.values(), MICRO])
def test_every_preset_is_allowed(preset: Any) -> None:
    check_footprint(preset)


def test_attention_is_a_matrix_of_all_pairs_of_pixels() -> None:
    assert measure_attention(STUDY) == 16 * 2 * (64 * 64) ** 2 * 4
    assert measure_attention(STUDY.replace({"unet": {"fused_attention": True}})) == 0
    unet = {"attention_levels": [False] * 3}  # The middle block attends still, at 32 x 32.
    assert measure_attention(STUDY.replace({"unet": unet})) == 16 * 2 * (32 * 32) ** 2 * 4


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"size_px": 256}, "Attention takes 32 GiB .* Lower batch_size or size, or set fused_attention"),
        ({"batch_size": 512}, "Lower batch_size"),
        ({"unet": {"channels": [1024] * 6, "attention_levels": [False] * 6, "res_blocks": 4}}, "million parameters"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_lower(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(PresetTooLarge, match=reason):
        check_footprint(STUDY.replace(values))


def test_fused_attention_makes_room() -> None:
    check_footprint(STUDY.replace({"size_px": 256, "unet": {"fused_attention": True}}))
