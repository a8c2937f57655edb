"""Shortcuts: what tells synthetic from real images without a look at the anatomy.

Every cue compares the synthetic images with the reference, and fresh real images (the baseline) with the same
reference: a cue that sets fresh real images apart as much as synthetic ones is no sign of the generator.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.copy_search import group_alike
from services.evaluator.audit.detector import Detection, describe, detect
from services.evaluator.audit.effect_sizes import LARGE, SMALL, EffectSize, cliffs_delta
from services.evaluator.audit.enlargement import reduce_and_enlarge, stored_size
from services.evaluator.audit.file_cues import compare_formats, compare_sizes, kind_cue
from services.evaluator.audit.image_cues import FEATURES, ImageCues, measure_images
from services.evaluator.audit.images import AuditImages, check_sides
from services.evaluator.audit.left_right import LEANS_TOO, judge_orientation
from services.evaluator.audit.spectra import find_cut_off, mean_spectrum
from services.evaluator.audit.wording import say_size
from services.evaluator.features.reading import SizePx
from shared.progress import NoProgress, Progress

ALIKE: Final = 0.97
"""Correlation at 32 x 32 pixels from which two images stay in one fold of the detector's cross-validation."""

FEWEST_FRESH: Final = 20
"""Fewest fresh real images that excuse a cue: of fewer, chance alone sets some far apart from the reference."""

Cue = dict[str, Any]
Numbers = NDArray[np.float64]

_UNITS: Final = {
    "sharpness": "variance of the Laplacian",
    "high_frequency": "share of spectral power above half the Nyquist frequency",
    "brightness": "mean gray level, 0 to 255",
    "contrast": "standard deviation of gray levels",
    "jpeg_blocks": "step across borders of 8 x 8 pixels over other steps",
}

_WORDS: Final = {
    "sharpness": ("sharper", "less sharp"),
    "high_frequency": ("richer in fine detail", "poorer in fine detail"),
    "brightness": ("brighter", "darker"),
    "contrast": ("higher in contrast", "lower in contrast"),
    "jpeg_blocks": ("blockier on the 8-pixel grid of JPEG", "less blocky on the 8-pixel grid of JPEG"),
}
_OF_DETAIL: Final = ("sharpness", "high_frequency")
"""Cues that an enlargement lowers by itself."""
_BY_MEAN: Final = ("brightness", "contrast")
"""Cues told in gray levels, by their means; the others are told as ratios of medians."""


def measure_shortcuts(
    synthetic: AuditImages,
    reference: AuditImages,
    baseline: AuditImages | None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Each cue with its effect size, the spectra, the detector and the orientation.

    Args:
        synthetic: images under test.
        reference: real images that the generator was to imitate.
        baseline: fresh real images; None: there are none.
        seed: of the detector's folds.
        progress: one unit for each image of all sides.

    Returns:
        "cues": for each cue median, quartiles and mean of the sides; "difference" (synthetic minus reference) and
        "ratio" (reference over synthetic) of the medians, of brightness and contrast of the means; "effect_size" with
        its 95 % "interval" ("effect": what it is), the same for fresh real images under "baseline_effect_size", a
        sentence and a severity. Where the synthetic images were enlarged to be compared, the measures of detail have
        "stored_px" and "reference_at_size" too: the reference images reduced to that and enlarged alike. "spectra":
        geometric means of the images' radial power shares. "detector": see `detect`. "orientation": see
        `judge_orientation`.

    Raises:
        TooFewImages, ImageSizesDiffer, ConstantImages: see `check_sides`.
    """
    progress = progress or NoProgress()
    check_sides(synthetic, reference, baseline)
    sides = {"synthetic": synthetic, "reference": reference} | ({"baseline": baseline} if baseline else {})
    total = sum(len(images) for images in sides.values())
    measured, done = {}, 0
    for side, images in sides.items():
        measured[side] = measure_images(images.images_u8, progress.raise_if_cancelled)
        done += len(images)
        progress.update(done, total)
    spectra = {side: mean_spectrum(cues.power) for side, cues in measured.items()}
    frequencies = measured["reference"].frequencies
    cut_off = find_cut_off(frequencies, spectra["synthetic"], spectra["reference"])
    files = {side: images.files for side, images in sides.items()}
    cues = [_compare(name, {side: getattr(found, name) for side, found in measured.items()}) for name in _UNITS]
    if (size_px := stored_size(synthetic)) is not None:
        _add_size(cues, size_px, reference, progress)
    cues += [compare_formats(files), compare_sizes(files, cut_off, min(reference.images_u8.shape[1:]))]
    progress.raise_if_cancelled()
    detector = _detect(sides, measured, seed)
    progress.raise_if_cancelled()
    orientation = judge_orientation(
        synthetic.images_u8,
        reference.images_u8,
        baseline.images_u8 if baseline is not None else None,
        progress.raise_if_cancelled,
    )
    cues.append(_orientation_cue(orientation))
    return {
        "cues": cues,
        "spectra": {"frequency_cycles_per_px": [round(float(f), 5) for f in frequencies], "cut_off": cut_off}
        | {side: [float(f"{share:.4g}") for share in spectrum] for side, spectrum in spectra.items()},
        "detector": detector,
        "orientation": orientation,
    }


def _add_size(cues: list[Cue], size_px: SizePx, reference: AuditImages, progress: Progress) -> None:
    """Say beside the measures of detail what reference images have at the size the synthetic ones are stored at."""
    reduced = np.stack([reduce_and_enlarge(image, size_px) for image in reference.images_u8])
    found = measure_images(reduced, progress.raise_if_cancelled)
    for cue in cues:
        if cue["cue"] in _OF_DETAIL:
            there = cue["reference_at_size"] = _quartiles(getattr(found, cue["cue"]))
            cue["stored_px"] = list(size_px)
            cue["sentence"] += f" {say_size(size_px)} {_short(there['median'])}."


def _compare(name: str, values: dict[str, Numbers]) -> Cue:
    """A cue that is a number for every image."""
    effect = cliffs_delta(values["synthetic"], values["reference"])
    usual = cliffs_delta(values["baseline"], values["reference"]) if "baseline" in values else None
    quartiles = {side: _quartiles(numbers) for side, numbers in values.items()}
    statistic = "mean" if name in _BY_MEAN else "median"
    mine, theirs = quartiles["synthetic"][statistic], quartiles["reference"][statistic]
    return {
        "cue": name,
        "unit": _UNITS[name],
        "synthetic": quartiles["synthetic"],
        "reference": quartiles["reference"],
        "baseline": quartiles.get("baseline"),
        "difference": _rounded(mine - theirs),
        "ratio": _rounded(theirs / mine) if mine > 0 else None,
        "effect": "Cliff's delta",
        "effect_size": round(effect.delta, 4),
        "interval": [round(effect.low, 4), round(effect.high, 4)],
        "baseline_effect_size": round(usual.delta, 4) if usual else None,
        "sentence": _say(name, quartiles, effect, usual),
        "severity": _judge(effect, usual, len(values.get("baseline", ()))),
    }


def _say(name: str, quartiles: dict[str, dict[str, float]], effect: EffectSize, usual: EffectSize | None) -> str:
    """What a cue says, with its numbers."""
    statistic = "mean" if name in _BY_MEAN else "median"
    mine, theirs = quartiles["synthetic"][statistic], quartiles["reference"][statistic]
    more, less = _WORDS[name]
    low, high = sorted((mine, theirs))
    times = f"{high - low:.1f} gray levels" if name in _BY_MEAN else f"{high / max(low, 1e-9):.2g} times"
    verdict = f"are {times} {more if mine > theirs else less} than the reference" if mine != theirs else "are alike"
    text = f"Synthetic images {verdict} ({statistic} {_short(mine)} against {_short(theirs)}"
    if usual is not None:
        text += f", fresh real images {_short(quartiles['baseline'][statistic])}"
    text += f"): this alone puts a synthetic and a reference image in the right order in {_say_chance(effect)}"
    return f"{text}, a fresh real and a reference image in {_say_chance(usual)}." if usual is not None else f"{text}."


def _say_chance(effect: EffectSize) -> str:
    """In how many of 100 pairs the better direction is right: the ROC area, as percent."""
    return f"{100 * max(effect.auc[0], 1 - effect.auc[0]):.0f} % of pairs"


def _judge(effect: EffectSize, usual: EffectSize | None, n_fresh: int) -> str:
    """Large is a problem, more than negligible a notice, unless fresh real images differ as much the same way."""
    same_way = usual is not None and n_fresh >= FEWEST_FRESH and usual.delta * effect.delta > 0
    if usual is not None and same_way and effect.least_size <= abs(usual.delta):
        return "fine"
    return "problem" if effect.least_size >= LARGE else "notice" if effect.least_size >= SMALL else "fine"


def _orientation_cue(found: dict[str, Any]) -> Cue:
    """The share of mirrored images as a cue; its effect is twice the share minus 1: 0 for as many either way."""
    cue = kind_cue("orientation", "share of images taken for mirrored left to right", 0.0, None, "", "fine")
    cue |= {"effect": "2 x share - 1", "effect_size": None}
    leans = {side: found.get(side) for side in ("synthetic", "reference", "baseline")}
    for side, lean in leans.items():
        if lean:
            cue[side] = {"median": lean["share_mirrored"], "low": lean["low"], "high": lean["high"]}
    mine, usual = leans["synthetic"], leans["baseline"]
    if mine is None:
        return cue | {"sentence": f"Whether the images are mirrored cannot be told: {found['reason']}"}
    cue["effect_size"] = round(2 * mine["share_mirrored"] - 1, 4)
    cue["interval"] = [round(2 * mine[end] - 1, 4) for end in ("low", "high")]
    cue["baseline_effect_size"] = round(2 * usual["share_mirrored"] - 1, 4) if usual else None
    verdict = {
        True: "The synthetic images are mirrored left to right",
        False: "The synthetic images are not mirrored",
        None: str(found["reason"]).rstrip("."),
    }
    percent = f"{100 * mine['share_mirrored']:.0f} % of them ({100 * mine['low']:.0f} to {100 * mine['high']:.0f} %)"
    say = f"{verdict[found['mirrored']]}: a rule that tells reference images from their mirror images takes {percent} "
    say += "for mirrored"
    if leans["reference"]:
        say += f", and {100 * leans['reference']['share_mirrored']:.0f} % of reference images it was not shown"
    say += f", and {100 * usual['share_mirrored']:.0f} % of fresh real images." if usual else "."
    if found["mirrored"] and usual and usual["low"] > 0.5:
        say += f" {LEANS_TOO}"
    return cue | {"sentence": say, "severity": "problem" if found["mirrored"] else "fine"}


def _detect(sides: dict[str, AuditImages], measured: dict[str, ImageCues], seed: int) -> dict[str, Any]:
    groups = {side: group_alike(images.images_u8, ALIKE) for side, images in sides.items()}

    features = {side: cues.features() for side, cues in measured.items()}

    def against_reference(side: str) -> Detection | None:
        return detect(features[side], features["reference"], groups[side], groups["reference"], seed)

    baseline = against_reference("baseline") if "baseline" in sides else None
    return describe(against_reference("synthetic"), baseline, FEATURES)


def _quartiles(values: Numbers) -> dict[str, float]:
    low, middle, high = (_rounded(float(value)) for value in np.percentile(values, [25, 50, 75]))
    return {"median": middle, "low": low, "high": high, "mean": _rounded(float(values.mean()))}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
