import pytest
import torch

from services.generator.models.network import NoisePredictor
from services.generator.models.preset import Preset
from services.generator.sampling.drawing import SamplingPlan, sample_images
from services.generator.sampling.guidance import GuidedPredictor, choose_class
from services.generator.sampling.recipe import SamplingWishes, resolve_recipe
from services.generator.sampling.samplers import build_sampler
from shared.progress import NoProgress
from shared.tumour import TumourClass
from tests.services.generator.micro import MICRO, conditional, random_network

KNOWN = conditional(MICRO)
X_T = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TIMES = torch.full((3,), 300)


def predict(network: torch.nn.Module, number: int) -> torch.Tensor:
    """One half by itself, in the batch shape of both."""
    both: torch.Tensor = network(torch.cat([X_T, X_T]), torch.cat([TIMES, TIMES]), torch.full((6,), number))
    return both[:3]


@torch.no_grad()
def test_guidance_one_is_the_plain_conditional_network() -> None:
    network = random_network(0, KNOWN.unet)
    plain = network(X_T, TIMES, torch.full((3,), 1))
    guided = choose_class(network, KNOWN, TumourClass.MENINGIOMA, 1.0)
    assert torch.equal(guided(X_T, TIMES), plain)
    assert not torch.allclose(plain, network(X_T, TIMES, torch.full((3,), 0)), atol=1e-3)


@pytest.mark.parametrize("guidance", [1.5, 3.0, 20.0])
@torch.no_grad()
def test_guidance_moves_on_from_the_network_without_a_class(guidance: float) -> None:
    """Ho & Salimans 2022, eq. 6, written with their w: (1 + w) eps(x, c) - w eps(x)."""
    network = random_network(0, KNOWN.unet)
    w = guidance - 1
    expected = (1 + w) * predict(network, 2) - w * predict(network, KNOWN.unet.n_classes)
    guided = GuidedPredictor(network, 2, KNOWN.unet.n_classes, guidance)
    torch.testing.assert_close(guided(X_T, TIMES), expected, rtol=1e-4, atol=1e-4)


def test_both_halves_are_one_batch() -> None:
    seen: list[tuple[int, list[int]]] = []

    class Watched(NoisePredictor):
        def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor, classes: torch.Tensor | None = None):  # type: ignore[no-untyped-def]
            assert classes is not None
            seen.append((len(x_t), classes.tolist()))
            return super().forward(x_t, timesteps, classes)

    with torch.no_grad():
        GuidedPredictor(Watched(KNOWN.unet), 1, 4, 2.0)(X_T, TIMES)
    assert seen == [(6, [1, 1, 1, 4, 4, 4])]


def test_classes_and_guidance_change_the_image_and_neighbours_do_not() -> None:
    network = random_network(0, KNOWN.unet)

    def draw(tumour_class: str, guidance: float, indices: range) -> dict[int, bytes]:
        drawer = choose_class(network, KNOWN, TumourClass(tumour_class), guidance)
        plan = SamplingPlan(16, (-1.0, 1.0), 0, indices, 3)
        sampler = build_sampler("dpm++", 5, KNOWN.schedule)
        return {k: image.tobytes() for k, image in sample_images(drawer, sampler, plan, progress=NoProgress())}

    drawn = [draw("glioma", 1.0, range(4)), draw("pituitary", 1.0, range(4)), draw("glioma", 4.0, range(4))]
    assert len({images[3] for images in drawn}) == 3
    assert draw("glioma", 4.0, range(3, 4))[3] == drawn[2][3]


def test_a_network_of_one_class_is_left_as_it_is() -> None:
    network = random_network()
    preset: Preset = MICRO
    assert choose_class(network, preset, TumourClass.GLIOMA, 1.0) is network


@pytest.mark.parametrize(("class_dropout", "asked", "resolved"), [(0.1, None, 3.0), (0.1, 1.0, 1.0), (0.0, None, 1.0)])
def test_a_presets_guidance_needs_a_network_that_learned_without_a_class(
    class_dropout: float, asked: float | None, resolved: float
) -> None:
    preset = KNOWN.model_copy(update={"class_dropout": class_dropout, "guidance": 3.0})
    assert resolve_recipe(preset, "mdl-x", SamplingWishes(guidance=asked)).guidance == resolved
    assert resolve_recipe(MICRO, "mdl-x", SamplingWishes()).guidance == 1.0
