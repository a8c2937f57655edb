"""Check a request against the image sets and submit its job; what the workers then do is in `jobs.py`."""

import dataclasses
from typing import Any

from services.classifier.presets import Preset, choose_preset, equal_updates
from services.classifier.requests import Composition as CompositionRequest
from services.classifier.requests import Mix, ScenarioRequest, TrainRequest
from services.classifier.scenarios.composition import Composition, Count
from services.classifier.scenarios.plan import plan_phases
from services.classifier.scenarios.presets import scenario_compositions
from services.classifier.sources import Sources, open_sources, pool
from shared.artifacts.store import get_artifacts
from shared.errors import InvalidInput
from shared.jobs.submission import Accepted, Caller, submit
from shared.objects import get_objects
from shared.tumour import CLASS_ORDER


class NameOneScenario(InvalidInput):
    """Neither a scenario nor compositions were given, or both."""


class SyntheticImagesUnused(InvalidInput):
    """Synthetic image sets were given, and the composition takes no image of them."""


def start_training(caller: Caller, body: TrainRequest) -> Accepted:
    """Submit one `classifier.train` job, after checking what can be checked at once."""
    mix = body.train if isinstance(body.train, Mix) else Mix(real=body.train, composition=None)
    sources = open_sources(get_artifacts(), caller.owner, mix.real, mix.synthetic, body.test, body.leakage_waiver)
    composition = _requested_composition("training set", mix.composition)
    if mix.synthetic and not any(count.synthetic for count in composition.counts.values()):
        raise SyntheticImagesUnused(
            "`synthetic` names image sets, but no image of them would be used. Say in `composition` how many, as "
            '{"glioma": {"real": "all", "synthetic": 100}, ...}, or leave `synthetic` out.'
        )
    selection = sources.select(composition)
    sources.tested_on([selection])
    preset = _requested_preset(body)
    request = {
        **_resolved(body, preset, mix.real, mix.synthetic, sources),
        "image_sets": sources.used_sets([selection]),
        "composition": composition.to_json(),
        "seed": body.seed,
    }
    updates = preset.training.n_updates(len(selection))
    return submit(caller, "classifier.train", request, total=updates, unit="update")


def start_scenario(caller: Caller, body: ScenarioRequest) -> Accepted:
    """Submit one `scenario` job with a shard per composition and seed, after checking every composition."""
    sources = open_sources(get_artifacts(), caller.owner, body.real, body.synthetic, body.test, body.leakage_waiver)
    compositions = _requested_compositions(body)
    sources.tested_on(sources.select(composition) for composition in compositions)
    preset = _requested_preset(body)
    if body.updates == "equal":
        n_images = [len(sources.select(composition)) for composition in compositions]
        preset = dataclasses.replace(preset, training=equal_updates(preset.training, n_images))
    seeds = list(dict.fromkeys(body.seeds))
    real, synthetic = pool(sources.real), pool(sources.synthetic)
    phases = [
        phase
        for composition in compositions
        for phase in plan_phases(composition, real, synthetic, preset.training, seeds[0])
    ]
    request = {
        **_resolved(body, preset, body.real, body.synthetic, sources),
        # Other seeds keep other real images for the second phase; the synthetic ones are the same for all.
        "image_sets": sources.used_sets(phase.selection for phase in phases),
        "scenario": body.scenario,
        "compositions": [{"name": composition.name, **composition.to_json()} for composition in compositions],
        "seeds": seeds,
        "updates": body.updates,
    }
    shards = [{"composition": k, "seed": seed} for k in range(len(compositions)) for seed in seeds]
    per_seed = sum(phase.n_updates for phase in phases)
    return submit(caller, "scenario", request, shards=shards, total=per_seed * len(seeds), unit="update")


def _requested_preset(body: TrainRequest | ScenarioRequest) -> Preset:
    """The preset with the request's changes.

    Raises:
        WeightsNotInstalled: the network needs the ImageNet weights and they are not there.
    """
    preset = choose_preset(
        body.preset,
        epochs=body.epochs,
        batch_size=body.batch_size,
        learning_rate=body.learning_rate,
        size_px=body.size,
    )
    if preset.network.architecture == "vgg19":
        from services.evaluator.weights.installed import require_record

        require_record(get_objects(), "vgg19", "The preset vgg19-compact needs none.")
    return preset


def _requested_compositions(body: ScenarioRequest) -> list[Composition]:
    if (body.scenario is None) == (body.compositions is None):
        raise NameOneScenario("Give either `scenario` (a name) or `compositions` (your own), and not both.")
    if body.scenario is not None:
        return scenario_compositions(body.scenario)
    return [_requested_composition(name, counts) for name, counts in (body.compositions or {}).items()]


def _requested_composition(name: str, counts: CompositionRequest | None) -> Composition:
    if counts is None:
        return Composition(name, {tumour_class: Count(real="all") for tumour_class in CLASS_ORDER})
    return Composition(name, {key: Count(count.real, count.synthetic) for key, count in counts.items()})


def _resolved(
    body: TrainRequest | ScenarioRequest, preset: Preset, real: str, synthetic: list[str], sources: Sources
) -> dict[str, Any]:
    """What both kinds of job need, so that the worker reads nothing but the job's request."""
    return {
        "real": real,
        "synthetic": synthetic,
        "test": body.test or real,
        "preset": body.preset,
        "network": dataclasses.asdict(preset.network),
        "training": dataclasses.asdict(preset.training),
        "name": body.name,
        "leakage_waiver": body.leakage_waiver,
        "crossing_patients": list(sources.crossing_patients),
    }
