"""What a scenario shows: accuracy and F1 per composition over the seeds, beside the first composition's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.classifier.metrics import summarise, wilson_interval
from services.classifier.report import Table, to_png
from shared.tumour import CLASS_ORDER


@dataclass(frozen=True)
class SeedResult:
    """One classifier's test.

    Attributes:
        composition: name of what it was trained on.
        seed: training seed.
        confusion: (4, 4) int64, rows true, columns predicted, in `CLASS_ORDER`.
        n_real: different real training images of all phases.
        n_synthetic: different synthetic training images of all phases.
        phases: `n_real`, `n_synthetic` and `updates` of each phase; a fine-tuned classifier has two.
        updates: optimizer updates of all phases.
        train_seconds: time in the training loop.
    """

    composition: str
    seed: int
    confusion: NDArray[np.int64]
    n_real: int
    n_synthetic: int
    phases: Sequence[Mapping[str, int]]
    updates: int
    train_seconds: float


def summarise_compositions(results: Sequence[SeedResult]) -> list[dict[str, Any]]:
    """One JSON object per composition, in the order in which they first occur.

    Standard deviations over seeds are sample ones (n - 1); with a single seed they are null. The difference to the
    first composition is the mean over seeds that both have of the difference within the seed.
    """
    names = list(dict.fromkeys(result.composition for result in results))
    grouped = {name: [r for r in results if r.composition == name] for name in names}
    first = {r.seed: summarise(r.confusion)["accuracy"] for r in grouped[names[0]]}
    return [_summarise_one(name, grouped[name], first) for name in names]


def scenario_table(compositions: Sequence[dict[str, Any]]) -> Table:
    """The table of a paper: one row per composition."""
    heads = ("composition", "real", "synthetic", "updates", "seeds", "accuracy", "sd", "difference")
    rows = [
        [
            entry["name"],
            str(entry["n_real"]),
            str(entry["n_synthetic"]),
            str(entry["updates"]),
            str(len(entry["accuracy"]["per_seed"])),
            f"{entry['accuracy']['mean']:.4f}",
            _or_dash(entry["accuracy"]["sd"]),
            f"{entry['difference_to_first']['mean']:+.4f}",
            *(f"{entry['f1'][str(name)]:.4f}" for name in CLASS_ORDER),
        ]
        for entry in compositions
    ]
    return (*heads, *(f"F1 {name}" for name in CLASS_ORDER)), rows


def draw_chart(compositions: Sequence[dict[str, Any]]) -> bytes:
    """A PNG: test accuracy of every seed as a dot, the mean as a bar mark, the first composition's mean as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.3, 1.1 + 0.32 * len(compositions)), layout="constrained")
    axes = figure.subplots()
    for k, entry in enumerate(compositions):
        values = list(entry["accuracy"]["per_seed"].values())
        colour = "#c4541d" if entry["n_synthetic"] else "#1f4e79"
        axes.plot(values, [k] * len(values), "o", color=colour, alpha=0.55, markersize=5)
        axes.plot(entry["accuracy"]["mean"], k, "|", color=colour, markersize=15, markeredgewidth=2.2)
    axes.axvline(compositions[0]["accuracy"]["mean"], color="#888888", linewidth=0.8, linestyle="--", zorder=0)
    # Names are the user's: a dollar in them begins no formula.
    names = [entry["name"] for entry in compositions]
    axes.set_yticks(range(len(compositions)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(compositions) - 0.5, -0.5)
    axes.margins(x=0.08)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("accuracy on real test images (dot: one seed; bar: mean)", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.plot([], [], "o", color="#1f4e79", label="real only")
    axes.plot([], [], "o", color="#c4541d", label="with synthetic")
    axes.legend(fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return to_png(figure)


def scenario_notes(compositions: Sequence[dict[str, Any]], n_test: int, n_leaked: int) -> list[str]:
    """What a reader must know before believing a difference."""
    accuracy = compositions[0]["accuracy"]["mean"]
    # Standard error of a proportion: sqrt(p (1 - p) / n).
    error = (accuracy * (1 - accuracy) / max(1, n_test)) ** 0.5
    notes = [
        f"Tested on {n_test} real images; the standard error of an accuracy of {accuracy:.3f} is {error:.3f}.",
        _note_on_seeds(compositions),
        *_notes_on_updates(compositions),
    ]
    if n_leaked:
        notes.append(f"{n_leaked} test images are byte-identical to a real training image; accuracies are too high.")
    return notes


def _note_on_seeds(compositions: Sequence[dict[str, Any]]) -> str:
    """What the standard deviations are of."""
    note = "Standard deviations are sample ones over the seeds; seeds change weights and order, not the chosen images"
    if any(len(entry["phases"]) > 1 for entry in compositions):
        return f"{note}, but for the real images that the second phase of a fine-tuned composition keeps."
    return f"{note}."


def _notes_on_updates(compositions: Sequence[dict[str, Any]]) -> list[str]:
    """Whether the compositions were trained for equally long, and what to compare where they were not."""
    tuned = [entry for entry in compositions if len(entry["phases"]) > 1]
    controls = [entry for entry in tuned if not entry["n_synthetic"]]
    first = compositions[0]["phases"][0]["updates"]
    notes = []
    if len({entry["updates"] for entry in compositions}) == 1:
        notes.append(f"Every composition was trained for the same number of updates, {compositions[0]['updates']}.")
    elif any(entry["phases"][0]["updates"] != first for entry in compositions):
        notes.append("Epochs are fixed, so compositions with more images were also trained for more updates.")
    else:
        notes.append(f"All were trained for {first} updates; fine-tuned ones then went on, so theirs are more.")
    return notes + [_note_on_fine_tuning(entry, controls) for entry in tuned]


def _note_on_fine_tuning(entry: Mapping[str, Any], controls: Sequence[Mapping[str, Any]]) -> str:
    phases = ", then ".join(
        f"{phase['n_real']} real and {phase['n_synthetic']} synthetic images for {phase['updates']} updates"
        for phase in entry["phases"]
    )
    note = f"{entry['name']}: {phases}."
    if not entry["n_synthetic"]:
        return f"{note} It is the control: fine-tuned on real images only."
    if not controls:
        return f"{note} Nothing was fine-tuned on real images only, so longer training may explain its difference."
    named = " and ".join(control["name"] for control in controls)
    note = f"{note} Compare it with {named}, fine-tuned on real images only, not with the first."
    if all(control["updates"] == entry["updates"] for control in controls):
        return note
    fewest = min(control["updates"] for control in controls)
    return (
        f"{note} That was trained for {fewest} updates, this for {entry['updates']}, so the length of the training may "
        "explain part of the difference; ask for equal updates."
    )


def _summarise_one(name: str, results: Sequence[SeedResult], first: dict[int, float]) -> dict[str, Any]:
    per_seed = {r.seed: summarise(r.confusion) for r in results}
    accuracies = [summary["accuracy"] for summary in per_seed.values()]
    mean, n_test = float(np.mean(accuracies)), int(results[0].confusion.sum())
    differences = [summary["accuracy"] - first[seed] for seed, summary in per_seed.items() if seed in first]
    return {
        "name": name,
        "n_real": results[0].n_real,
        "n_synthetic": results[0].n_synthetic,
        "phases": [dict(phase) for phase in results[0].phases],
        "updates": results[0].updates,
        "train_seconds": round(sum(r.train_seconds for r in results), 1),
        "accuracy": {
            "mean": mean,
            "sd": _sample_sd(accuracies),
            # Uncertainty from the number of test images alone; the seeds share them, so they do not narrow it.
            "test_interval_95": list(wilson_interval(round(mean * n_test), n_test)),
            "per_seed": {str(seed): summary["accuracy"] for seed, summary in per_seed.items()},
        },
        "difference_to_first": {
            "mean": float(np.mean(differences)) if differences else 0.0,
            "sd": _sample_sd(differences),
        },
        **{
            measure: {
                str(tumour): float(np.mean([s["per_class"][str(tumour)][measure] for s in per_seed.values()]))
                for tumour in CLASS_ORDER
            }
            for measure in ("precision", "recall", "f1")
        },
        "macro_f1": float(np.mean([summary["macro"]["f1"] for summary in per_seed.values()])),
        "confusion_per_seed": {str(r.seed): r.confusion.tolist() for r in results},
    }


def _sample_sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
