"""The shortcuts of all classes as sentences: one for each cue and severity."""

from typing import Any, Final

from services.evaluator.audit.left_right import LEANS_TOO
from services.evaluator.audit.wording import join_words, list_by_class, name_classes, percent, say_size

Finding = dict[str, Any]
Classes = dict[str, dict[str, Any]]

OBVIOUS_AUC: Final = 0.9
SUSPECT_AUC: Final = 0.6

_TIMES: Final = {
    "sharpness": ("less sharp", "sharper", "variance of the Laplacian"),
    "high_frequency": ("poorer in fine detail", "richer in fine detail", "spectral power above half-Nyquist"),
    "jpeg_blocks": ("less blocky on the 8-pixel grid of JPEG", "blockier on the 8-pixel grid of JPEG", "block steps"),
}
_LEVELS: Final = {"brightness": ("darker", "brighter"), "contrast": ("lower in contrast", "higher in contrast")}


def find_in_shortcuts(classes: Classes) -> list[Finding]:
    """Findings of all cues, the detector and the orientation.

    Args:
        classes: by class, results of `measure_shortcuts`.
    """
    found = []
    names = [cue["cue"] for cue in next(iter(classes.values()))["cues"]]
    for name in names:
        cues = {c: cue for c, results in classes.items() for cue in results["cues"] if cue["cue"] == name}
        for severity in ("problem", "notice"):
            alike = {c: cue for c, cue in cues.items() if cue["severity"] == severity}
            by_sign = [same_way for sign in (1, -1) if (same_way := _of_sign(alike, sign))]
            found += [_finding(same_way, severity, _say(name, same_way, classes)) for same_way in by_sign]
    return found + _find_detection(classes) + _find_unmirrored(classes)


def _of_sign(cues: dict[str, dict[str, Any]], sign: int) -> dict[str, dict[str, Any]]:
    return {c: cue for c, cue in cues.items() if ((cue["difference"] or 0) < 0) == (sign < 0)}


def _finding(classes: Any, severity: str, sentence: str) -> Finding:
    names = list(classes)
    return {"check": "shortcuts", "class": names[0] if len(names) == 1 else None, "severity": severity,
            "sentence": sentence}  # fmt: skip


def _say(name: str, cues: dict[str, dict[str, Any]], classes: Classes) -> str:
    if name == "orientation":
        return _say_mirrored(list(cues), classes)
    if name == "native_size" and len(cues) > 1:
        return _say_sizes(cues, classes)
    if len(cues) == 1 and name not in _LEVELS and name not in _TIMES:
        (only,) = cues
        return f"{only.capitalize()}: {cues[only]['sentence']}"
    subject = f"{name_classes(list(cues), list(classes))} {'is' if len(cues) == 1 else 'are'}"
    if name in _TIMES:
        less, more, what = _TIMES[name]
        down = next(iter(cues.values()))["difference"] < 0
        ratios = {c: cue["ratio"] if down else 1 / cue["ratio"] for c, cue in cues.items()}
        times = list_by_class({c: f"{ratio:.2g} times" for c, ratio in ratios.items()})
        medians = list_by_class(
            {c: f"{_short(cue['synthetic'])} against {_short(cue['reference'])}" for c, cue in cues.items()}
        )
        text = f"{subject} {less if down else more} than the reference, {times}: median {what} {medians}."
        return text + _say_stored(cues)
    if name in _LEVELS:
        down = next(iter(cues.values()))["difference"] < 0
        levels = list_by_class({c: f"{abs(cue['difference']):.1f}" for c, cue in cues.items()})
        return f"{subject} {_LEVELS[name][0 if down else 1]} than the reference by {levels} gray levels on average."
    sentences = {cue["sentence"] for cue in cues.values()}
    if len(sentences) == 1:
        sentence = sentences.pop()
        return f"{name_classes(list(cues), list(classes))}: {sentence[0].lower()}{sentence[1:]}"
    return " ".join(f"{c.capitalize()}: {cue['sentence']}" for c, cue in cues.items())


def _say_stored(cues: dict[str, dict[str, Any]]) -> str:
    """What reference images have at the size of the synthetic ones, if all of these were enlarged from one size."""
    sizes = {tuple(cue.get("stored_px", ())) for cue in cues.values()}
    size_px = sizes.pop()
    if sizes or not size_px:
        return ""
    return f" {say_size(size_px)} {list_by_class({c: _short(cue['reference_at_size']) for c, cue in cues.items()})}."


def _say_sizes(cues: dict[str, dict[str, Any]], classes: Classes) -> str:
    """The sizes at which the images of several classes seem to have been made, and that of real ones."""
    made = {c: f"{cue['made_at_px']} pixels" for c, cue in cues.items() if cue["made_at_px"]}
    if len(made) < len(cues):
        return " ".join(f"{c.capitalize()}: {cue['sentence']}" for c, cue in cues.items())
    text = (
        f"{name_classes(list(cues), list(classes))} lack fine detail as if they had been enlarged from about "
        f"{list_by_class(made)}"
    )
    native = {c: f"{cue['reference']['median']:.0f} pixels" for c, cue in cues.items() if cue["reference"]}
    return f"{text}; the reference images were made from images of {list_by_class(native)}." if native else f"{text}."


def _say_mirrored(names: list[str], classes: Classes) -> str:
    found = {c: classes[c]["orientation"] for c in names}
    mine = list_by_class({c: percent(f["synthetic"]["share_mirrored"]) for c, f in found.items()})
    seen = {c: percent(f["reference"]["share_mirrored"]) for c, f in found.items() if f["reference"]}
    fresh = {c: percent(f["baseline"]["share_mirrored"]) for c, f in found.items() if f["baseline"]}
    subject = f"{name_classes(names, list(classes))} {'is' if len(names) == 1 else 'are'}"
    text = (
        f"{subject} mirrored left to right: a rule that tells reference images from their mirror images takes {mine} "
        "of the synthetic images for mirrored"
    )
    text += f", against {list_by_class(seen)} of reference images it was not shown" if seen else ""
    text += f" and {list_by_class(fresh)} of fresh real images." if fresh else "."
    weak = [c for c, f in found.items() if f["baseline"] and f["baseline"]["low"] > 0.5]
    return f"{text} {join_words(weak).capitalize()}: {LEANS_TOO[0].lower()}{LEANS_TOO[1:]}" if weak else text


def _find_unmirrored(classes: Classes) -> list[Finding]:
    upright = [c for c, results in classes.items() if results["orientation"]["mirrored"] is False]
    open_ = [c for c, results in classes.items() if results["orientation"]["mirrored"] is None]
    found = []
    if upright:
        found.append(_finding(upright, "fine", f"Not mirrored left to right: {join_words(upright)}."))
    if open_:
        found.append(_finding(open_, "fine", f"Whether {join_words(open_)} images are mirrored cannot be told."))
    return found


def _find_detection(classes: Classes) -> list[Finding]:
    found = []
    told = {c: results["detector"] for c, results in classes.items() if results["detector"]["auc"] is not None}
    groups: dict[str, list[str]] = {}
    for c, detector in told.items():
        usual = (detector["baseline_interval"] or [0, 0])[1]
        least = detector["low"]
        severity = (
            "problem" if least > max(OBVIOUS_AUC, usual) else "notice" if least > max(SUSPECT_AUC, usual) else "fine"
        )
        groups.setdefault(severity, []).append(c)
    for severity, names in groups.items():
        aucs = list_by_class({c: f"{told[c]['auc']:.3f}" for c in names})
        fresh = {c: f"{told[c]['auc_of_baseline']:.3f}" for c in names if told[c]["auc_of_baseline"] is not None}
        sentence = (
            f"A simple detector, from spectrum and gray levels alone, tells synthetic from reference images of "
            f"{join_words(names)} with an AUC of {aucs} (0.5 is guessing, 1 never errs)"
        )
        sentence += f"; fresh real from reference images with {list_by_class(fresh)}." if fresh else "."
        found.append(_finding(names, severity, sentence))
    return found


def _short(side: dict[str, float]) -> str:
    value = side["median"]
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}"
