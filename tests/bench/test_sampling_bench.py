"""What an image costs: arithmetic, sampler, batch, and everything that is not the network."""

import time
from typing import Any

import pytest

from tests.bench.timing import fastest_s

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Table = list[tuple[str, str, str]]
BATCH = 16


def build(preset_name: str) -> tuple[Any, Any]:
    """An untrained network and its preset: what a step costs does not depend on the weights."""
    from services.generator.models.network import build_network
    from services.generator.models.presets import find_preset

    preset = find_preset(preset_name)
    return build_network(preset.unet).eval(), preset


def draw(network: Any, preset: Any, sampler: str, steps: int, *, n: int, batch: int, precision: str) -> list[Any]:
    from services.generator.sampling.drawing import SamplingPlan, sample_images
    from services.generator.sampling.samplers import build_sampler
    from shared.progress import NoProgress

    plan = SamplingPlan(preset.size_px, preset.value_range, 0, range(n), batch, precision=precision)
    built = build_sampler(sampler, steps, preset.schedule)
    return [image for _, image in sample_images(network, built, plan, progress=NoProgress())]


def step_s(network: Any, preset: Any, *, batch: int, precision: str, n: int = 2) -> float:
    """Seconds of one network call for each image."""
    import torch

    x_t = torch.randn(batch, 1, preset.size_px, preset.size_px, generator=torch.Generator().manual_seed(0))
    times = torch.full((batch,), 500)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        network(x_t, times)  # warm: the weights are cast once
        return fastest_s(lambda: network(x_t, times), n) / batch


def test_bfloat16_against_float32(table: Table) -> None:
    import torch

    network, preset = build("compact")
    ours: dict[str, float] = {p: step_s(network, preset, batch=BATCH, precision=p) for p in ("float32", "bfloat16")}
    ratio = ours["float32"] / ours["bfloat16"]
    row = f"{ratio:.2f} x ({ours['float32'] * 1e3:.1f} ms against {ours['bfloat16'] * 1e3:.1f} ms a step and image)"
    table.append(("`compact`, 128 px: bfloat16 against float32 at equal steps", row, "1.8 x"))
    native = torch.cpu._is_avx512_bf16_supported()
    assert ratio > (1.1 if native else 0.0)


def test_twenty_steps_of_dpm_against_a_thousand_of_ddpm(table: Table) -> None:
    """From the time of a step: the samplers' own arithmetic is measured with it, on a batch of 20 steps each."""
    network, preset = build("compact")
    arguments: dict[str, Any] = {"n": BATCH, "batch": BATCH, "precision": "bfloat16"}

    def seconds(sampler: str) -> float:
        return fastest_s(lambda: draw(network, preset, sampler, 20, **arguments), 1) / BATCH

    seconds("dpm++")
    fast, full = seconds("dpm++"), seconds("ddpm") * 1000 / 20
    row = f"{fast:.2f} s against {full:.1f} s an image ({full / fast:.0f} x; ddpm reckoned from 20 of its steps)"
    table.append(("`compact`: 20 steps of dpm++ against 1,000 of ddpm", row, ""))
    assert full / fast > 20


def test_a_batch_against_single_images(table: Table) -> None:
    network, preset = build("compact")
    costs = {batch: step_s(network, preset, batch=batch, precision="bfloat16") for batch in (1, 4, 8, 16, 32)}
    best = min(costs, key=costs.__getitem__)
    row = f"{costs[1] / costs[best]:.2f} x ({costs[1] * 1e3:.1f} ms against {costs[best] * 1e3:.1f} ms at {best})"
    table.append(("`compact`, bfloat16: batch 1 against the best batch, a step and image", row, ""))
    assert costs[BATCH] < 1.5 * costs[1]


@pytest.mark.parametrize(("preset_name", "precision"), [("tiny", "float32"), ("compact", "bfloat16")])
def test_the_share_outside_the_network(table: Table, preset_name: str, precision: str) -> None:
    """A shard as a worker draws it, with files on their way to a store that takes 3 ms for each."""
    import torch

    from services.generator.sampling.delivery import Delivery
    from services.generator.sampling.drawing import SamplingPlan, sample_unit_images
    from services.generator.sampling.outputs import encode_drawing
    from services.generator.sampling.samplers import build_sampler
    from shared.progress import NoProgress

    network, preset = build(preset_name)
    inside_s = 0.0

    class Timed(torch.nn.Module):
        def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            nonlocal inside_s
            began = time.perf_counter()
            predicted: torch.Tensor = network(x_t, timesteps)
            inside_s += time.perf_counter() - began
            return predicted

    def deliver(drawn: Any) -> bytes:
        data = encode_drawing(drawn, transposed=False, output="png", size_px=preset.size_px)
        time.sleep(0.003)
        return data

    plan = SamplingPlan(preset.size_px, preset.value_range, 0, range(32), BATCH, precision=precision)  # type: ignore[arg-type]
    sampler = build_sampler("dpm++", 20, preset.schedule)
    began = time.perf_counter()
    with Delivery(deliver) as delivery:
        for _, drawn in sample_unit_images(Timed(), sampler, plan, progress=NoProgress()):
            delivery.add(drawn)
        assert len(delivery.results()) == 32
    whole_s = time.perf_counter() - began
    what = f"`{preset_name}`, {precision}, 20 steps of dpm++: share of a shard outside the network"
    table.append((what, f"{100 * (1 - inside_s / whole_s):.1f} % of {whole_s / 32:.2f} s an image", "10 %"))
    assert inside_s / whole_s > 0.8
