"""The audit at a glance: cues by class, the detector, and the use of the images for training."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.evaluator.reports.style import (
    CLASS_COLOURS,
    CLASS_MARKS,
    FONT_PT,
    INK,
    PALE,
    REFERENCE_COLOUR,
    SYNTHETIC_COLOUR,
    caption,
    dress,
    new_figure,
    to_png,
)

_CHANCE: Final = {"auc": 0.5}


def draw_chart(report: Mapping[str, Any]) -> bytes | None:
    """PNG with a panel each for cues, detector and usefulness, as far as they were measured; None if none was.

    Args:
        report: the report's JSON.
    """
    shortcuts = {name: found["shortcuts"] for name, found in report["classes"].items() if found.get("shortcuts")}
    usefulness = report["usefulness"]
    detected = any(found["detector"]["auc"] is not None for found in shortcuts.values())
    panels = [
        *(["cues"] if shortcuts else []),
        *(["detector"] if detected else []),
        *(["usefulness"] if usefulness else []),
    ]
    if not panels:
        return None
    widths = {"cues": 2.4, "detector": 1.0, "usefulness": 1.1}
    n_cues = max((len(found["cues"]) for found in shortcuts.values()), default=0)
    height_in = max(3.2, 1.5 + 0.34 * n_cues)
    figure = new_figure(height_in, 9.0 if len(panels) > 1 else 4.6)
    grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=[widths[panel] for panel in panels])[0]
    for axes, panel in zip(grid, panels, strict=True):
        if panel == "cues":
            _draw_cues(axes, shortcuts)
        elif panel == "detector":
            _draw_detectors(axes, shortcuts)
        else:
            _draw_usefulness(axes, usefulness)
    caption(figure, _describe(report, panels))
    return to_png(figure)


def _draw_cues(axes: Any, shortcuts: Mapping[str, Mapping[str, Any]]) -> None:
    """Effect sizes, one row per cue and one mark per class; hollow marks for fresh real images."""
    names = list(dict.fromkeys(cue["cue"] for found in shortcuts.values() for cue in found["cues"]))
    for number, (tumour_class, found) in enumerate(shortcuts.items()):
        shift = (number - (len(shortcuts) - 1) / 2) * 0.16
        colour, mark = CLASS_COLOURS.get(tumour_class, PALE), CLASS_MARKS.get(tumour_class, "o")
        label: str | None = tumour_class
        for cue in found["cues"]:
            y = names.index(cue["cue"]) + shift
            if cue.get("effect_size") is None:
                continue
            interval = ends_of(cue.get("interval"))
            if interval is not None:
                axes.plot(interval, (y, y), color=colour, linewidth=1)
            axes.plot(cue["effect_size"], y, mark, color=colour, markersize=4.5, label=label)
            label = None
            fresh = cue.get("baseline_effect_size")
            if fresh is not None:
                axes.plot(fresh, y, mark, markerfacecolor="white", markeredgecolor=colour, markersize=3.5, zorder=1)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(-1.08, 1.08)
    dress(axes, title="a  Cues that need no anatomy", xlabel="effect size (0: alike, ±1: apart)")
    axes.grid(axis="x", color="#eeeeee", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=FONT_PT - 1, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=4,
                handletextpad=0.2, columnspacing=1.0)  # fmt: skip


def _draw_detectors(axes: Any, shortcuts: Mapping[str, Mapping[str, Any]]) -> None:
    names = [name for name, found in shortcuts.items() if found["detector"]["auc"] is not None]
    for x, name in enumerate(names):
        detector = shortcuts[name]["detector"]
        colour, mark = CLASS_COLOURS.get(name, PALE), CLASS_MARKS.get(name, "o")
        axes.plot((x, x), (detector["low"], detector["high"]), color=colour, linewidth=1.2)
        axes.plot(x, detector["auc"], mark, color=colour, markersize=5)
        if detector.get("auc_of_baseline") is not None:
            axes.plot(
                x, detector["auc_of_baseline"], mark, markerfacecolor="white", markeredgecolor=colour, markersize=4
            )
    axes.axhline(_CHANCE["auc"], color=INK, linewidth=0.6, linestyle=":")
    axes.annotate(
        "chance", (len(names) - 0.5, 0.5), (0, 2), textcoords="offset points", fontsize=FONT_PT - 1, ha="right"
    )
    axes.set_xticks(range(len(names)), [f"{name[:10]}" for name in names], rotation=35, ha="right")
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_ylim(0.35, 1.04)
    dress(axes, title="b  Detector", ylabel="AUC, real against synthetic")


def _draw_usefulness(axes: Any, usefulness: Mapping[str, Any]) -> None:
    bars = [("synthetic", SYNTHETIC_COLOUR), ("real", REFERENCE_COLOUR)]
    for x, (kind, colour) in enumerate(bars):
        entry = usefulness[kind]
        percent = 100 * entry["accuracy"]
        axes.bar(x, percent, width=0.6, color=colour)
        low, high = (100 * end for end in ends_of(entry["interval"]) or (entry["accuracy"], entry["accuracy"]))
        axes.plot((x, x), (low, high), color=INK, linewidth=1.2)
        axes.annotate(f"{percent:.1f} %", (x, max(high, percent)), (0, 3), textcoords="offset points", ha="center",
                      fontsize=FONT_PT)  # fmt: skip
    axes.set_xticks(range(2), ["trained on\nsynthetic", "trained on\nreal"])
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 25))
    dress(axes, title="c  Usefulness", ylabel="accuracy on real images, %")


def ends_of(interval: Any) -> tuple[float, float] | None:
    """Both ends of an interval, whether it came as an object with low and high or as a list."""
    if interval is None:
        return None
    low, high = (interval["low"], interval["high"]) if isinstance(interval, Mapping) else interval
    return float(low), float(high)


def _describe(report: Mapping[str, Any], panels: Sequence[str]) -> str:
    parts = []
    counts = [
        f"{name} {found['n_synthetic']:,} / {found['n_reference']:,}" for name, found in report["classes"].items()
    ]
    if "cues" in panels:
        parts.append(
            "Filled: synthetic against the real images of the reference. Hollow: fresh real images against the same "
            "reference. Lines are 95 % intervals. Effects are Cliff's delta; of file format and native size the "
            "distance of both mixes, of orientation twice the share of mirrored images less 1."
        )
    if counts:
        parts.append(f"n (synthetic / reference): {'; '.join(counts)}.")
    if "usefulness" in panels:
        parts.append("Usefulness: mean of three trainings of one small network.")
    return " ".join(parts)
