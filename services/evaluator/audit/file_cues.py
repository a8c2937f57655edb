"""What files say of themselves, compared: format, quality, and the size an image was made at."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from services.evaluator.audit.effect_sizes import LARGE, SMALL
from services.evaluator.audit.images import FileFacts

Cue = dict[str, Any]


def describe_file(facts: FileFacts) -> str:
    """For example "JPEG, RGB, quality 75, 4:2:0"."""
    parts = [facts.file_format, facts.mode]
    if facts.jpeg_quality is not None:
        parts.append(f"quality {facts.jpeg_quality}")
    if facts.chroma_subsampling is not None:
        parts.append(facts.chroma_subsampling)
    return ", ".join(parts)


def describe_size(facts: FileFacts) -> str:
    """For example "256 x 256"."""
    return f"{facts.width} x {facts.height}"


def compare_kinds(first: Sequence[str], second: Sequence[str]) -> float:
    """Total variation distance of two mixes of kinds, 0 (one mix) to 1 (no kind in common).

    Half the sum of absolute differences of the shares (Levin and Peres 2017, Markov Chains and Mixing Times, prop.
    4.2). The best guess of the side from the kind alone is right for a share (1 + distance) / 2 of both sides.

    Args:
        first: the kind of each image of one side, at least one.
        second: the same of the other side.
    """
    counts, others = Counter(first), Counter(second)
    kinds = counts.keys() | others.keys()
    return sum(abs(counts[kind] / len(first) - others[kind] / len(second)) for kind in kinds) / 2


def commonest(kinds: Sequence[str]) -> tuple[str, float]:
    """The commonest kind and its share."""
    kind, n = Counter(kinds).most_common(1)[0]
    return kind, n / len(kinds)


def say_commonest(kinds: Sequence[str]) -> str:
    """For example "all are JPEG, RGB, quality 75, 4:2:0"."""
    kind, share = commonest(kinds)
    return f"all are {kind}" if share == 1 else f"{100 * share:.0f} % are {kind}"


def median_native_px(files: Sequence[FileFacts]) -> tuple[float, float, float] | None:
    """Median, lower and upper quartile of the shorter native side, pixels; None where fewer than half are known."""
    import numpy as np

    sides = [min(f.native_width, f.native_height) for f in files if f.native_width and f.native_height]
    if 2 * len(sides) < len(files) or not sides:
        return None
    low, middle, high = np.percentile(sides, [25, 50, 75])
    return float(middle), float(low), float(high)


def compare_formats(files: dict[str, list[FileFacts]]) -> Cue:
    """Formats, modes, JPEG qualities: the best guess from them alone.

    Args:
        files: by side (synthetic, reference, perhaps baseline), the facts of its files.
    """
    kinds = {side: [describe_file(facts) for facts in some] for side, some in files.items()}
    distance = compare_kinds(kinds["synthetic"], kinds["reference"])
    usual = compare_kinds(kinds["baseline"], kinds["reference"]) if "baseline" in kinds else None
    say = f"Of the synthetic files {say_commonest(kinds['synthetic'])}; of the reference files "
    say += f"{say_commonest(kinds['reference'])}."
    if distance:
        say += f" The kind of file alone tells {50 * (1 + distance):.0f} % of images of both sides right."
    severity = "fine" if usual is not None and distance <= usual else _judge_share(distance)
    return kind_cue("file_format", "format, mode, JPEG quality, chroma subsampling", distance, usual, say, severity)


def compare_sizes(files: dict[str, list[FileFacts]], cut_off: float | None, side_px: int) -> Cue:
    """Stored sizes, native sizes where files tell, and the size at which the synthetic images seem to be made.

    Args:
        files: by side (synthetic, reference, perhaps baseline), the facts of its files.
        cut_off: cycles per pixel above which the synthetic images lack detail, or None.
        side_px: side of the images that `cut_off` was measured on, pixels.
    """
    kinds = {side: [describe_size(facts) for facts in some] for side, some in files.items()}
    distance = compare_kinds(kinds["synthetic"], kinds["reference"])
    usual = compare_kinds(kinds["baseline"], kinds["reference"]) if "baseline" in kinds else None
    say = f"Of the synthetic images {say_commonest(kinds['synthetic'])} pixels; of the reference images "
    say += f"{say_commonest(kinds['reference'])} pixels."
    native = {side: median_native_px(some) for side, some in files.items()}
    if native["reference"]:
        say += f" The reference images were made from images of {native['reference'][0]:.0f} pixels (median)."
    if cut_off is not None:
        say += (
            f" Detail is missing from the synthetic images above {cut_off:.2f} cycles per pixel, as if they had been "
            f"enlarged from about {2 * cut_off * side_px:.0f} pixels."
        )
    severity = "problem" if cut_off is not None else _judge_share(distance)
    cue = kind_cue("native_size", "pixels, shorter side", distance, usual, say, severity)
    for side, found in native.items():
        if found:
            cue[side] = dict(zip(("median", "low", "high"), found, strict=True))
    cue["made_at_px"] = round(2 * cut_off * side_px) if cut_off is not None else None
    return cue


def kind_cue(name: str, unit: str, distance: float, usual: float | None, sentence: str, severity: str) -> Cue:
    """A cue without medians."""
    blank = dict.fromkeys(("synthetic", "reference", "baseline", "difference", "ratio", "interval"))
    return {"cue": name, "unit": unit, **blank, "effect": "total variation distance", "effect_size": round(distance, 4),
            "baseline_effect_size": usual, "sentence": sentence, "severity": severity}  # fmt: skip


def _judge_share(distance: float) -> str:
    return "problem" if distance >= LARGE else "notice" if distance >= SMALL else "fine"
