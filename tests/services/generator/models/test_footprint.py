from typing import Any

import pytest
import torch

from services.generator.models.footprint import (
    BatchDoesNotFit,
    PresetTooLarge,
    check_drawing,
    check_footprint,
    estimate_parameters,
    measure_attention,
)
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
    assert measure_attention(STUDY, 16) == 16 * 2 * (64 * 64) ** 2 * 4
    assert measure_attention(STUDY.replace({"unet": {"fused_attention": True}}), 16) == 0
    unet = {"attention_levels": [False] * 3}  # The middle block attends still, at 32 x 32.
    assert measure_attention(STUDY.replace({"unet": unet}), 16) == 16 * 2 * (32 * 32) ** 2 * 4


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"size_px": 256}, "Attention takes 32 GiB .* Lower batch_size or size, or set fused_attention"),
        ({"batch_size": 256}, "takes 32 GiB .* at most 16 GiB .* Lower batch_size"),
        ({"unet": {"channels": [1024] * 6, "attention_levels": [False] * 6, "res_blocks": 4}}, "million parameters"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_lower(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(PresetTooLarge, match=reason):
        check_footprint(STUDY.replace(values))


def test_fused_attention_makes_room() -> None:
    check_footprint(STUDY.replace({"size_px": 256, "unet": {"fused_attention": True}}))


@pytest.mark.parametrize(("guided", "most"), [(False, 128), (True, 64)])
def test_a_batch_to_draw_is_held_to_the_same_limit_and_guidance_doubles_it(guided: bool, most: int) -> None:
    check_drawing(STUDY, most, guided=guided)
    with pytest.raises(BatchDoesNotFit, match=f"smaller batch_size, {most} at most") as refused:
        check_drawing(STUDY, most + 1, guided=guided)
    assert refused.value.extra == {"maximum": most}
    check_drawing(STUDY.replace({"unet": {"fused_attention": True}}), 256, guided=True)
    huge = STUDY.replace({"size_px": 256, "unet": {"attention_levels": [True] * 3, "head_channels": 64}})
    with pytest.raises(BatchDoesNotFit, match="a model of smaller images"):
        check_drawing(huge, 1, guided=guided)
