"""One run: the study's loop, the platform's in all variants that time allows, and the study's loop again."""

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import torch

from services.generator.images import ImageU8
from services.generator.models.network import build_network, place_network
from services.generator.models.preset import Preset
from services.generator.sampling.drawing import BatchDoesNotFit
from tests.bench.gpu import study_loop
from tests.bench.gpu.figures import DDPM_STEPS, FEW_STEPS, DrawingFigure, TrainingFigure, reckon_drawing
from tests.bench.gpu.images import stack_for
from tests.bench.gpu.machine import Clock, count_flops, free_memory, measure_peak, most_memory_gib, seconds_of, wait
from tests.bench.gpu.platform_loop import PlatformLoop, draw
from tests.bench.gpu.profile import profile_updates
from tests.bench.gpu.scale import Scale

PRESETS: Final = ("study", "rigorous")
FUSED: Final = "fused attention"
COMPILED: Final = "fused attention, compiled"
_EAGER_S: Final = 45.0
_RESERVED_S: Final = 25.0  # for the study's loop at the end


@dataclass
class Results:
    """All that was measured.

    Args:
        peak: floating-point operations a second of a large bfloat16 matrix product.
        flops: of one image through each preset's network: forward, and forward with backward.
        training: of both loops.
        drawing: likewise.
        notes: what was left out, and why.
        failures: what broke, in a line each; the traceback was printed.
    """

    peak: float
    flops: dict[str, tuple[int, int]]
    training: list[TrainingFigure] = field(default_factory=list)
    drawing: list[DrawingFigure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Run:
    """Measures into `results`, as far as `clock` allows."""

    def __init__(self, scale: Scale, clock: Clock, device: torch.device, images: list[ImageU8]) -> None:
        self._scale, self._clock, self._device = scale, clock, device
        self._images = {name: stack_for(scale.preset(name), images) for name in PRESETS}
        flops = {name: count_flops(scale.preset(name)) for name in PRESETS}
        self.results = Results(measure_peak(scale.matmul_n, device), flops)

    def measure(self, jpegs: list[Path], *, compiling: bool) -> Results:
        """Everything in the order of its importance; the study's loop first and last, so that a drift shows."""
        study = study_loop.StudyLoop(self._scale.preset("study"), jpegs, self._scale.n_workers, self._device)
        self._measure_study(study)
        for name in PRESETS:
            self._train(name, self._scale.training_batches)
        for name in PRESETS:
            self._draw(name, self._scale.drawing_batches, compiled=False)
        for name in reversed(PRESETS) if compiling else ():
            self._compile(name)
        self._measure_study(study)
        return self.results

    def _measure_study(self, study: study_loop.StudyLoop) -> None:
        scale, dtype = self._scale, str(study.dtype).removeprefix("torch.")
        free_memory(self._device)

        def train() -> None:
            speed = self._time_updates(study.update, self.results.flops["study"][1])
            facts = ("study", "study", "as it was", dtype, study_loop.BATCH)
            self._keep(TrainingFigure(*facts, speed.images_per_s, speed.measured, speed.share, speed.memory_gib))

        def draw_one() -> None:
            study.draw(2)  # warm
            steps, forward = scale.study_steps, self.results.flops["study"][0]
            seconds = seconds_of(lambda: study.draw(steps), self._device)
            share = forward * steps / seconds / self.results.peak
            total = reckon_drawing(seconds, batch=1, n_drawn=1, steps=steps, all_steps=DDPM_STEPS)
            self._keep(DrawingFigure("study", "study", "as it was", dtype, 1, "ddpm", DDPM_STEPS, *total, share))

        self._attempt("the study's training", 0, train)
        self._attempt("the study's drawing", 0, draw_one)

    def _train(self, name: str, batches: tuple[int, ...]) -> None:
        """The platform's training without torch.compile: `study` as published too, at its own batch."""
        preset = self._scale.preset(name)
        if not preset.unet.fused_attention:
            self._train_one(preset, "as published", min(batches[0], preset.batch_size), compiled=False)
        for batch in batches:
            self._train_one(fuse_attention(preset), FUSED, batch, compiled=False)

    def _train_one(self, preset: Preset, variant: str, batch: int, *, compiled: bool) -> None:
        preset = preset.replace({"batch_size": batch})

        def train() -> None:
            loop = PlatformLoop(preset, self._images[preset.name], self._device, compiled=compiled)
            speed = self._time_updates(loop.update, self.results.flops[preset.name][1])
            text = None
            if speed.share < self._scale.profile_below and speed.images_per_s > self._best_training_of(preset.name):
                text = profile_updates(loop.update, batch / speed.images_per_s, self._device)
            facts = ("platform", preset.name, variant, loop.precision, batch)
            self._keep(TrainingFigure(*facts, speed.images_per_s, speed.measured, speed.share, speed.memory_gib, text))

        what = f"training `{preset.name}`, {variant}, batch {batch}"
        self._attempt(what, self._scale.compiling_s if compiled else _EAGER_S, train)

    def _best_training_of(self, name: str) -> float:
        """Images per second of the platform's best training yet of a preset."""
        ours = [each for each in self.results.training if (each.loop, each.preset) == ("platform", name)]
        return max((each.images_per_s for each in ours), default=0.0)

    def _draw(self, name: str, batches: tuple[int, ...], *, compiled: bool) -> None:
        """The platform's drawing: all batch sizes in 1000 steps, then the best in 20."""
        preset = fuse_attention(self._scale.preset(name))
        network = place_network(build_network(preset.unet), self._device).eval()
        if compiled:
            network.compile(dynamic=False)
        variant, device, scale = COMPILED if compiled else FUSED, self._device, self._scale
        wanted_s = scale.compiling_s if compiled else _EAGER_S

        def time_drawing(sampler: Literal["ddpm", "dpm++"], steps: int, all_steps: int, n: int, batch: int) -> None:
            draw(network, preset, sampler, 2, n=batch, batch=batch, device=device)  # warm
            seconds = seconds_of(lambda: draw(network, preset, sampler, steps, n=n, batch=batch, device=device), device)
            share = self.results.flops[name][0] * n * steps / seconds / self.results.peak
            total = reckon_drawing(seconds, batch=batch, n_drawn=n, steps=steps, all_steps=all_steps)
            facts = ("platform", name, variant, "bfloat16", batch, sampler, all_steps)
            self._keep(DrawingFigure(*facts, *total, share))

        for batch in batches:
            what = f"drawing `{name}`, {variant}, batch {batch}"
            self._attempt(
                what, wanted_s, lambda batch=batch: time_drawing("ddpm", scale.ddpm_steps, DDPM_STEPS, batch, batch)
            )
        drawn = [each for each in self.results.drawing if (each.preset, each.variant) == (name, variant)]
        if drawn:
            best = min(drawn, key=lambda each: each.seconds).batch
            what = f"drawing `{name}`, {variant}, in {FEW_STEPS} steps"
            self._attempt(what, _EAGER_S, lambda: time_drawing("dpm++", FEW_STEPS, FEW_STEPS, scale.n_drawn, best))

    def _compile(self, name: str) -> None:
        """Training and drawing of one preset with torch.compile, at the batch sizes that were best without."""
        trained = [each for each in self.results.training if (each.preset, each.variant) == (name, FUSED)]
        drawn = [each for each in self.results.drawing if (each.preset, each.variant) == (name, FUSED)]
        if trained:
            best = max(trained, key=lambda each: each.images_per_s).batch
            self._train_one(fuse_attention(self._scale.preset(name)), COMPILED, best, compiled=True)
        if drawn:
            self._draw(name, (min(drawn, key=lambda each: each.seconds).batch,), compiled=True)

    def _time_updates(self, update: Callable[[], int], flops_per_image: int) -> "_Speed":
        """Warm up, then make updates for a while."""
        for _ in range(self._scale.warm_updates):
            update()
        n_images = n_updates = 0
        wait(self._device)
        began = time.perf_counter()
        while time.perf_counter() - began < self._scale.measure_s:
            n_images += update()
            n_updates += 1
        wait(self._device)
        seconds = time.perf_counter() - began
        share = n_images / seconds * flops_per_image / self.results.peak
        measured = f"{n_updates} updates in {seconds:.1f} s"
        return _Speed(n_images / seconds, measured, share, most_memory_gib(self._device))

    def _attempt(self, what: str, needed_s: float, measure: Callable[[], None]) -> None:
        """Measure if there is time; what breaks is noted, since the figures that remain are worth having."""
        if needed_s and not self._clock.has(needed_s + _RESERVED_S):
            self.results.notes.append(f"Not tried for want of time: {what}.")
            return
        try:
            measure()
        except (torch.OutOfMemoryError, BatchDoesNotFit):
            self.results.notes.append(f"Too little memory: {what}.")
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            self.results.failures.append(f"{what}: {type(error).__name__}: {str(error).strip().splitlines()[:1]}")
        free_memory(self._device)

    def _keep(self, figure: TrainingFigure | DrawingFigure) -> None:
        if isinstance(figure, TrainingFigure):
            self.results.training.append(figure)
        else:
            self.results.drawing.append(figure)
        print(figure_line(figure), flush=True)


@dataclass(frozen=True)
class _Speed:
    images_per_s: float
    measured: str
    share: float
    memory_gib: float | None


def fuse_attention(preset: Preset) -> Preset:
    """`preset` with the fused kernel, which computes the same; `rigorous` has it by itself."""
    return preset.replace({"unet": {"fused_attention": True}})


def figure_line(figure: TrainingFigure | DrawingFigure) -> str:
    """A figure in a line, for whoever watches."""
    head = f"{figure.loop} loop, `{figure.preset}`, {figure.variant}, {figure.precision}, batch {figure.batch}: "
    if isinstance(figure, TrainingFigure):
        return head + f"{figure.images_per_s:.1f} images/s in training, {figure.share_of_peak:.1%} of the peak"
    return head + f"600 images in {figure.steps} steps of {figure.sampler}: {figure.seconds:.1f} s ({figure.measured})"
