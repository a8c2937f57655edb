from typing import Any

import pytest
import torch

from services.generator.models.preset import Preset
from services.generator.sampling.samplers import training_schedule
from services.generator.training.objective import Objective, weigh_timesteps
from tests.services.generator.micro import MICRO, PerfectPredictor

CPU = torch.device("cpu")
KINDS = [("linear", "epsilon"), ("linear", "v_prediction"), ("cosine", "epsilon"), ("cosine", "v_prediction")]


def preset(betas: str, prediction: str, weighting: str = "min_snr", gamma: float = 5.0) -> Preset:
    changes: dict[str, Any] = {"schedule": {"betas": betas, "prediction": prediction}}
    return MICRO.replace({**changes, "loss_weighting": weighting, "min_snr_gamma": gamma})


@pytest.mark.parametrize("t", [0, 100, 500, 999])
@pytest.mark.parametrize("betas", ["linear", "cosine"])
def test_noised_images_keep_alpha_bar_of_their_power_and_get_the_rest_from_noise(betas: str, t: int) -> None:
    """x_t of a fixed x_0 has mean sqrt(alpha_bar) x_0 and variance 1 - alpha_bar."""
    objective = Objective(preset(betas, "epsilon"), CPU)
    alpha_bar = training_schedule(preset(betas, "epsilon").schedule).alphas_cumprod[t].item()
    n = 40_000
    eps = torch.randn(n, 1, 1, 1, generator=torch.Generator().manual_seed(t))
    x_t = objective.add_noise(torch.full_like(eps, 0.7), eps, torch.full((n,), t))
    sigma = (1 - alpha_bar) ** 0.5
    # The mean of n draws has standard error sigma / sqrt(n), the variance sigma^2 sqrt(2 / n); four of each.
    assert x_t.mean().item() == pytest.approx(0.7 * alpha_bar**0.5, abs=4 * sigma / n**0.5)
    assert x_t.var().item() == pytest.approx(1 - alpha_bar, rel=4 * (2 / n) ** 0.5)


@pytest.mark.parametrize(("betas", "prediction"), KINDS)
def test_min_snr_weighs_the_error_of_x_0_by_the_clipped_snr(betas: str, prediction: str) -> None:
    """The definition of arXiv:2303.09556: the weighted error of the prediction is min(SNR, gamma) |x_0 - x_0_hat|^2."""
    wanted = preset(betas, prediction)
    objective = Objective(wanted, CPU)
    alpha_bar = training_schedule(wanted.schedule).alphas_cumprod.double()
    generator = torch.Generator().manual_seed(0)
    for t in (5, 200, 600, 900):
        x_0, eps = torch.randn(2, 1, 1, 4, 4, generator=generator, dtype=torch.float64)
        predicted = torch.randn(1, 1, 4, 4, generator=generator, dtype=torch.float64)
        times = torch.tensor([t])
        x_t = objective.add_noise(x_0, eps, times)
        signal, noise = alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()
        x_0_hat = (
            signal * x_t - noise * predicted if prediction == "v_prediction" else (x_t - noise * predicted) / signal
        )
        snr = (signal / noise) ** 2
        expected = min(snr.item(), 5.0) * (x_0 - x_0_hat).square().mean()
        assert objective.measure(predicted, x_0, eps, times)[1].item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.parametrize(("betas", "prediction"), KINDS)
def test_weights_meet_their_limits(betas: str, prediction: str) -> None:
    alpha_bar = training_schedule(preset(betas, prediction).schedule).alphas_cumprod
    weights = weigh_timesteps(alpha_bar, preset(betas, prediction))
    assert weights.dtype == torch.float32
    assert torch.isfinite(weights).all()
    assert ((weights > 0) & (weights <= 1)).all()
    snr = alpha_bar.double() / (1 - alpha_bar.double())
    free = weigh_timesteps(alpha_bar, preset(betas, prediction, gamma=1e9)).double()  # nothing is clipped
    expected = torch.ones_like(snr) if prediction == "epsilon" else snr / (snr + 1)
    torch.testing.assert_close(free, expected, rtol=1e-6, atol=0)
    uniform = weigh_timesteps(alpha_bar, preset(betas, prediction, "uniform"))
    assert torch.equal(uniform, torch.ones(1000))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_has_no_loss_and_none_has_the_power_of_the_target(prediction: str) -> None:
    wanted = preset("linear", prediction)
    objective = Objective(wanted, CPU)
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 64, 1, 8, 8, generator=generator)
    t = torch.randint(0, 1000, (64,), generator=generator)
    perfect = PerfectPredictor(x_0, wanted.schedule)(objective.add_noise(x_0, eps, t), t)
    plain, weighted = objective.measure(perfect, x_0, eps, t)
    assert plain.item() < 1e-5
    assert weighted.item() < 1e-5
    # Both targets mix two standard normals with squares that sum to 1: power 1, of 4096 values within 4 sqrt(2 / 4096).
    assert objective.measure(torch.zeros_like(eps), x_0, eps, t)[0].item() == pytest.approx(1, abs=0.09)
