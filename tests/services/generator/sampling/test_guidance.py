import pytest
import torch

from services.generator.models.network import NoisePredictor
from services.generator.models.preset import Preset, PresetValueInvalid
from services.generator.requests import MAX_SIGMA
from services.generator.sampling.drawing import SamplingPlan, sample_images
from services.generator.sampling.guidance import GuidedPredictor, choose_class, count_passes, find_guided_times
from services.generator.sampling.recipe import (
    GuidanceIntervalEmpty,
    GuidanceNeedsClasses,
    SamplingRecipe,
    SamplingWishes,
    resolve_recipe,
)
from services.generator.sampling.samplers import build_sampler, training_schedule
from shared.progress import NoProgress
from shared.tumour import TumourClass
from tests.services.generator.micro import MICRO, conditional, random_network

KNOWN = conditional(MICRO)
X_T = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
TIMES = torch.full((3,), 300)


def guide(guidance: float, low: float = 0.0, high: float | None = None) -> SamplingRecipe:
    """A recipe that follows the class so."""
    wishes = SamplingWishes(guidance=guidance, guidance_sigma_min=low, guidance_sigma_max=high)
    return resolve_recipe(KNOWN, "mdl-x", wishes)


class Watched(NoisePredictor):
    """Keeps what it was asked: rows and their classes."""

    def __init__(self) -> None:
        super().__init__(KNOWN.unet)
        self.seen: list[tuple[int, list[int]]] = []

    def forward(self, x_t: torch.Tensor, timesteps: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
        assert classes is not None
        self.seen.append((len(x_t), classes.tolist()))
        return super().forward(x_t, timesteps, classes)


def predict(network: torch.nn.Module, number: int) -> torch.Tensor:
    """One half by itself, in the batch shape of both."""
    both: torch.Tensor = network(torch.cat([X_T, X_T]), torch.cat([TIMES, TIMES]), torch.full((6,), number))
    return both[:3]


@torch.no_grad()
def test_guidance_one_is_the_plain_conditional_network() -> None:
    network = random_network(0, KNOWN.unet)
    plain = network(X_T, TIMES, torch.full((3,), 1))
    guided = choose_class(network, KNOWN, TumourClass.MENINGIOMA, guide(1.0))
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
    network = Watched()
    with torch.no_grad():
        GuidedPredictor(network, 1, 4, 2.0)(X_T, TIMES)
    assert network.seen == [(6, [1, 1, 1, 4, 4, 4])]


@torch.no_grad()
def test_outside_its_interval_guidance_asks_the_plain_network_once() -> None:
    network = Watched()
    alpha_bar = training_schedule(KNOWN.schedule).alphas_cumprod
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    low, high = float(sigma[200]), float(sigma[400])
    drawer = choose_class(network, KNOWN, TumourClass.MENINGIOMA, guide(3.0, low, high))
    asked = {}
    for t in (0, 199, 201, 300, 399, 401, 999):
        times = torch.full((3,), t)
        predicted = drawer(X_T, times)
        asked[t] = network.seen[-1][0]
        if asked[t] == 3:
            assert torch.equal(predicted, network(X_T, times, torch.full((3,), 1)))
    assert asked == {0: 3, 199: 3, 201: 6, 300: 6, 399: 6, 401: 3, 999: 3}


@pytest.mark.parametrize(("guidance", "low", "high"), [(1.0, 0.0, None), (2.0, 0.0, None), (2.0, 0.4, 6.0)])
def test_passes_are_counted_as_the_network_sees_them(guidance: float, low: float, high: float | None) -> None:
    network, wanted = Watched(), guide(guidance, low, high)
    sampler = build_sampler("dpm++", 12, KNOWN.schedule)
    plan = SamplingPlan(16, KNOWN.value_range, 0, range(3), 3)
    drawer = choose_class(network, KNOWN, TumourClass.GLIOMA, wanted)
    for _ in sample_images(drawer, sampler, plan, progress=NoProgress()):
        pass
    assert sum(rows for rows, _ in network.seen) == 3 * count_passes(KNOWN, wanted, sampler.timesteps)
    assert count_passes(MICRO, guide(1.0), sampler.timesteps) == 12


def test_an_interval_has_an_upper_end_of_its_own_and_a_lower_one_that_is_not() -> None:
    alpha_bar = training_schedule(KNOWN.schedule).alphas_cumprod.double()
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt().tolist()
    guided = find_guided_times(KNOWN, guide(2.0, sigma[200], sigma[400]))
    assert guided is not None
    assert guided.nonzero().flatten().tolist() == list(range(201, 401))
    assert find_guided_times(KNOWN, guide(2.0)) is None


def test_an_interval_of_all_noise_levels_draws_what_none_draws() -> None:
    network = random_network(0, KNOWN.unet)

    def draw(recipe: SamplingRecipe) -> list[bytes]:
        drawer = choose_class(network, KNOWN, TumourClass.GLIOMA, recipe)
        plan = SamplingPlan(16, (-1.0, 1.0), 0, range(3), 3)
        sampler = build_sampler("dpm++", 5, KNOWN.schedule)
        return [image.tobytes() for _, image in sample_images(drawer, sampler, plan, progress=NoProgress())]

    everywhere, nowhere = draw(guide(4.0, 0.0, 1e9)), draw(guide(4.0, 1e8, 1e9))
    assert everywhere == draw(guide(4.0))
    assert nowhere == draw(guide(1.0))
    assert draw(guide(4.0, 0.3, 3.0)) not in (everywhere, nowhere)


def test_a_request_can_ask_for_guidance_throughout_on_every_schedule() -> None:
    """`guidance_sigma_max` at its largest lies above the noisiest step, which cosine betas put at 20,000."""
    for betas in ("linear", "cosine"):
        preset = KNOWN.replace({"schedule": {"betas": betas}, "guidance_sigma_max": 6.0})
        wishes = SamplingWishes(guidance=2.0, guidance_sigma_min=0.0, guidance_sigma_max=MAX_SIGMA)
        guided = find_guided_times(preset, resolve_recipe(preset, "mdl-x", wishes))
        assert guided is not None
        assert guided.all()


def test_classes_and_guidance_change_the_image_and_neighbours_do_not() -> None:
    network = random_network(0, KNOWN.unet)

    def draw(tumour_class: str, guidance: float, indices: range) -> dict[int, bytes]:
        drawer = choose_class(network, KNOWN, TumourClass(tumour_class), guide(guidance))
        plan = SamplingPlan(16, (-1.0, 1.0), 0, indices, 3)
        sampler = build_sampler("dpm++", 5, KNOWN.schedule)
        return {k: image.tobytes() for k, image in sample_images(drawer, sampler, plan, progress=NoProgress())}

    drawn = [draw("glioma", 1.0, range(4)), draw("pituitary", 1.0, range(4)), draw("glioma", 4.0, range(4))]
    assert len({images[3] for images in drawn}) == 3
    assert draw("glioma", 4.0, range(3, 4))[3] == drawn[2][3]


def test_a_network_of_one_class_is_left_as_it_is() -> None:
    network = random_network()
    preset: Preset = MICRO
    assert choose_class(network, preset, TumourClass.GLIOMA, guide(1.0)) is network


@pytest.mark.parametrize(("class_dropout", "asked", "resolved"), [(0.1, None, 3.0), (0.1, 1.0, 1.0), (0.0, None, 1.0)])
def test_a_presets_guidance_needs_a_network_that_learned_without_a_class(
    class_dropout: float, asked: float | None, resolved: float
) -> None:
    preset = KNOWN.model_copy(update={"class_dropout": class_dropout, "guidance": 3.0})
    assert resolve_recipe(preset, "mdl-x", SamplingWishes(guidance=asked)).guidance == resolved
    assert resolve_recipe(MICRO, "mdl-x", SamplingWishes()).guidance == 1.0


def test_a_request_changes_the_ends_that_it_names() -> None:
    preset = KNOWN.model_copy(update={"guidance": 2.0, "guidance_sigma_min": 0.5, "guidance_sigma_max": 5.0})

    def interval(**wishes: float) -> tuple[float, float, float | None]:
        recipe = resolve_recipe(preset, "mdl-x", SamplingWishes(**wishes))
        return recipe.guidance, recipe.guidance_sigma_min, recipe.guidance_sigma_max

    assert interval() == (2.0, 0.5, 5.0)
    assert interval(guidance=3.0, guidance_sigma_min=0.0) == (3.0, 0.0, 5.0)
    assert interval(guidance_sigma_max=9.0) == (2.0, 0.5, 9.0)
    assert interval(guidance=1.0) == (1.0, 0.0, None)
    with pytest.raises(GuidanceIntervalEmpty, match="above 6 and up to 5"):
        interval(guidance_sigma_min=6.0)
    with pytest.raises(GuidanceNeedsClasses, match="knows one class only"):
        resolve_recipe(MICRO, "mdl-x", SamplingWishes(guidance_sigma_max=5.0))
    with pytest.raises(GuidanceNeedsClasses, match="An interval of guidance is asked for"):
        resolve_recipe(MICRO, "mdl-x", SamplingWishes(guidance=1.0, guidance_sigma_max=5.0))


def test_a_preset_refuses_an_interval_without_a_noise_level() -> None:
    with pytest.raises(PresetValueInvalid, match="guidance_sigma_min must be below"):
        KNOWN.replace({"guidance_sigma_min": 3.0, "guidance_sigma_max": 3.0})
