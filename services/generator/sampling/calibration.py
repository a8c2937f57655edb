"""The curve of quality against seconds of one model's samplers, and what `quality=` takes from it."""

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from services.generator.models.preset import SAMPLER_NAMES, SamplerName
from services.generator.sampling.recipe import Quality


class Setting(BaseModel):
    """A sampler and its number of denoising steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampler: SamplerName
    steps: int = Field(ge=1, description="Denoising steps for each image, at most those of the training.")


class Point(Setting):
    """What was measured of a setting; None where it was left out, for `skipped` says which reason."""

    seconds_per_image: float | None = None
    distance: float | None = None
    skipped: str | None = None


GRID: Final = (
    *(Setting(sampler=sampler, steps=steps) for sampler in ("dpm++", "unipc") for steps in (5, 8, 10, 15, 20, 30, 50)),
    *(Setting(sampler="ddim", steps=steps) for steps in (10, 20, 50, 100)),
)
"""What is measured, beside `ddpm` with all steps, when a request names no settings."""
TOLERANCES: Final[dict[Quality, float]] = {"fast": 1.5, "balanced": 1.1}
"""How far above the best distance the cheapest setting may be; a judgement. Below the floor all are as good."""
_COLOURS: Final = {"ddpm": "#1b1f24", "ddim": "#009e73", "dpm++": "#0072b2", "unipc": "#d55e00"}
"""Of the Okabe-Ito palette, told apart by every kind of colour vision."""


def measure_pace(time_drawing: Callable[[int], float], train_steps: int) -> tuple[float, float]:
    """Seconds of one step, and those that a drawing takes however many steps it has: it is set up, encoded and stored.

    Args:
        time_drawing: draws one batch in so many steps and returns the seconds.
        train_steps: most steps there are.
    """
    few, more = 1, min(6, train_steps)
    seconds_of_few, seconds_of_more = time_drawing(few), time_drawing(more)
    pace = (seconds_of_more - seconds_of_few) / (more - few)
    if pace <= 0:  # Something else had the processor meanwhile; too much is told sooner than too little.
        return seconds_of_more / more, 0.0
    return pace, max(0.0, seconds_of_few - few * pace)


def choose_settings(points: Sequence[Point], floor: float, train_steps: int) -> dict[Quality, dict[str, Any]]:
    """For each quality the cheapest setting whose distance is within its tolerance of the best; `study` is `ddpm`."""
    measured = [point for point in points if point.distance is not None and point.seconds_per_image is not None]
    chosen: dict[Quality, dict[str, Any]] = {}
    best = max(min((point.distance or 0.0 for point in measured), default=0.0), floor)
    for quality, tolerance in TOLERANCES.items():
        good = [point for point in measured if (point.distance or 0.0) <= tolerance * best]
        if good:
            cheapest = min(good, key=lambda point: (point.seconds_per_image or 0.0, point.distance))
            chosen[quality] = cheapest.model_dump(exclude={"skipped"})
    full = next((point for point in points if (point.sampler, point.steps) == ("ddpm", train_steps)), None)
    reference = full or Point(sampler="ddpm", steps=train_steps)
    return {**chosen, "study": reference.model_dump(exclude={"skipped"})}


def render_csv(points: Sequence[Point]) -> bytes:
    """The points as UTF-8 CSV, one row each, in their order."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(Point.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(point.model_dump() for point in points)
    return out.getvalue().encode()


def draw_chart(points: Sequence[Point], floor: float, chosen: dict[Quality, dict[str, Any]], n: int) -> bytes:
    """PNG: distance against seconds for each image, a line for each sampler, the floor, and what was chosen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), dpi=160, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for sampler in SAMPLER_NAMES:
        line = sorted(
            (point.seconds_per_image or 0.0, point.distance, point.steps)
            for point in points
            if point.sampler == sampler and point.distance is not None
        )
        if line:
            axes.plot(
                *list(zip(*line, strict=True))[:2], marker="o", markersize=4, label=sampler, color=_COLOURS[sampler]
            )
        for seconds, distance, steps in line:
            axes.annotate(str(steps), (seconds, distance), (3, 4), textcoords="offset points", fontsize=7)
    for quality in TOLERANCES:
        if quality in chosen:
            at = (chosen[quality]["seconds_per_image"], chosen[quality]["distance"])
            axes.annotate(
                quality,
                at,
                (0, -26),
                textcoords="offset points",
                fontsize=8,
                ha="center",
                arrowprops={"arrowstyle": "->"},
            )
    axes.axhline(floor, color="#9aa5b1", linestyle="--", linewidth=1, label="real against real")
    axes.set(xscale="log", yscale="log", xlabel="seconds for each image")
    axes.set_ylabel(f"Fréchet distance of {n} images from the training images")
    axes.set_title("Quality against time; numbers are denoising steps", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
