"""What each check of an audit measured, as parts of a page: tables, and the pictures inside them."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.evaluator.reports.audit_chart import ends_of
from services.evaluator.reports.audit_pictures import describe_match

MARKS: Final = {"problem": "Problem", "notice": "Notice", "fine": "Fine"}
_SHOWN_COPIES: Final = 200
_SHOWN_GROUPS, _SHOWN_NAMES = 20, 6
_ALT: Final = {
    "chart.png": "The audit at a glance: cues by class, the detector and usefulness",
    "spectra.png": "Power spectra of synthetic and real images, by class",
    "embedding.png": "Synthetic and real images as points on a map, by class",
}


def show_figure(name: str, pictures: Mapping[str, bytes], alt: str | None = None) -> str:
    """A picture inside the page; nothing if there is none of this name."""
    if name not in pictures:
        return ""
    source = f"data:image/png;base64,{base64.b64encode(pictures[name]).decode()}"
    return f'<figure><img alt="{html.escape(alt or _ALT[name])}" src="{source}"></figure>'


def show_memorisation(classes: Mapping[str, Mapping[str, Any]], pictures: Mapping[str, bytes]) -> str:
    """How near the nearest real images are, which synthetic ones are copies, and the sheets of pairs."""
    found = {name: of_class["memorisation"] for name, of_class in classes.items() if "memorisation" in of_class}
    if not found:
        return ""
    copies = [(name, copy) for name, part in found.items() for copy in part["copies"]]
    parts = ["<h2>Memorisation</h2>", _nearest_table(found), f"<p>{html.escape(_thresholds(found))}</p>"]
    if copies:
        parts.append(f"<h3>Copies: {len(copies):,}</h3>" + _copies_table(copies[:_SHOWN_COPIES]))
        if len(copies) > _SHOWN_COPIES:
            parts.append(f"<p>The first {_SHOWN_COPIES} are shown; copies.csv has them all.</p>")
    for name in found:
        sheet = show_figure(f"nearest-{name}.png", pictures, f"Nearest pairs of {name}: synthetic, real, difference")
        shown = " open" if found[name]["copies"] else ""
        if sheet:
            parts.append(f"<details{shown}><summary>Nearest pairs: {html.escape(name)}</summary>{sheet}</details>")
    return "".join(parts)


def _nearest_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """How near the nearest real image is: of synthetic images, and of fresh real ones."""
    rows = []
    for name, part in found.items():
        for what, summary in (("synthetic", part["summary"]), ("fresh real", part["baseline"])):
            if summary is None:
                continue
            gray, details = (summary["quantiles"][measure] for measure in ("correlation", "edge_correlation"))
            counts = [f"{summary['n']:,}", f"{summary['n_above']:,} ({100 * summary['share_above']:.1f} %)"]
            ends = [f"{part['0.5']:.3f} / {part['1']:.3f}" for part in (gray, details)]
            rows.append([name, what, *counts, *ends, f"{100 * summary['share_mirrored']:.0f} %"])
    head = ("class", "images", "n", "as near as a copy", "correlation, median / highest", "of details", "mirrored")
    return _table(head, rows)


def _thresholds(found: Mapping[str, Mapping[str, Any]]) -> str:
    least = next(iter(found.values()))["thresholds"]
    return (
        f"A copy has a correlation of at least {least['correlation']:.2f} of gray levels and "
        f"{least['edge_correlation']:.2f} of details with a real image that was turned and moved to match. Fresh real "
        "images that are as near as a copy are scans that occur in both splits."
    )


def _copies_table(copies: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    rows = [
        [
            name,
            copy["name"],
            copy["nearest"],
            describe_match(copy),
            f"{copy['correlation']:.3f}",
            f"{copy['edge_correlation']:.3f}",
        ]
        for name, copy in copies
    ]
    return _table(("class", "synthetic image", "is a copy of", "how", "correlation", "of details"), rows)


def show_shortcuts(classes: Mapping[str, Mapping[str, Any]], pictures: Mapping[str, bytes]) -> str:
    """A table of cues and the detector's AUC for each class, and the spectra."""
    found = {name: of_class["shortcuts"] for name, of_class in classes.items() if "shortcuts" in of_class}
    if not found:
        return ""
    head = ("cue", "synthetic", "real (reference)", "fresh real", "effect size", "verdict")
    parts = ["<h2>Shortcuts</h2><p>Medians with quartiles; of orientation the share with its 95 % interval.</p>"]
    for name, part in found.items():
        rows = [
            [_cue_name(cue), *(_range(cue.get(side)) for side in ("synthetic", "reference", "baseline")), _effect(cue),
             MARKS[cue["severity"]]]
            for cue in part["cues"]
        ]  # fmt: skip
        words = "".join(f"<li>{html.escape(cue['sentence'])}</li>" for cue in part["cues"])
        parts.append(
            f"<h3>{html.escape(name)}</h3>{_table(head, rows)}<p>{html.escape(_detector(part['detector']))}</p>"
            f"<details><summary>In words</summary><ul>{words}</ul></details>"
        )
    return "".join(parts) + show_figure("spectra.png", pictures)


def _detector(detector: Mapping[str, Any]) -> str:
    if detector["auc"] is None:
        return f"No detector: {detector['reason']}"
    text = f"Detector: AUC {detector['auc']:.3f} ({detector['low']:.3f} to {detector['high']:.3f})"
    if detector.get("auc_of_baseline") is None:
        return f"{text}."
    return f"{text}; fresh real images against the reference: {detector['auc_of_baseline']:.3f}."


def _cue_name(cue: Mapping[str, Any]) -> str:
    words = str(cue["cue"]).replace("_", " ")
    return f"{words} ({cue['unit']})" if cue.get("unit") else words


def _range(side: Mapping[str, Any] | None) -> str:
    if not side or side.get("median") is None:
        return "–"
    text = _short(side["median"])
    return text if side.get("low") is None else f"{text} ({_short(side['low'])} to {_short(side['high'])})"


def _short(value: float) -> str:
    """Three digits, or whole numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _effect(cue: Mapping[str, Any]) -> str:
    if cue.get("effect_size") is None:
        return "–"
    ends = ends_of(cue.get("interval"))
    beside = f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
    return f"{cue['effect_size']:.2f}{beside}"


def show_diversity(classes: Mapping[str, Mapping[str, Any]], pictures: Mapping[str, bytes]) -> str:
    """Near-duplicates, planes and coverage, a column for each class, and the map of all images."""
    found = {name: of_class["diversity"] for name, of_class in classes.items() if "diversity" in of_class}
    picture = show_figure("embedding.png", pictures)
    if not found:
        return f"<h2>Map of the images</h2>{picture}" if picture else ""
    facts = [_diversity_facts(part) for part in found.values()]
    rows = [
        [fact, *(part.get(fact, "–") for part in facts)] for fact in dict.fromkeys(f for part in facts for f in part)
    ]
    reasons = sorted({part["planes_reason"] for part in found.values() if part.get("planes_reason")})
    notes = "".join(f"<p>{html.escape(reason)}</p>" for reason in reasons)
    return "<h2>Diversity</h2>" + _table(("", *found), rows) + notes + _repeats(found) + picture


def _diversity_facts(found: Mapping[str, Any]) -> dict[str, str]:
    """What is said of one class, by what it is."""
    repeats, planes, coverage = found["duplicates"], found["planes"], found["coverage"]
    repeated = f"{repeats['n_images']:,} in groups of alike: {repeats['n_groups']:,}" if repeats["n_groups"] else "none"
    facts = {"images that repeat another": repeated}
    if planes:
        for plane in planes["reference"]:
            sides = [planes[side][plane] for side in ("synthetic", "reference", "baseline") if planes[side]]
            facts[f"{plane}: synthetic / real / fresh real"] = " / ".join(map(_share, sides))
        if planes["accuracy"]:
            facts["planes told right, of real images"] = _share(planes["accuracy"]["share"])
    if coverage:
        facts["coverage of the real images"] = _share(coverage["synthetic"])
        if coverage["baseline"] is not None:
            what = "coverage by equally many images: synthetic / fresh real"
            facts[what] = f"{_share(coverage['synthetic_of_as_many'])} / {_share(coverage['baseline'])}"
    return facts


def _repeats(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The groups of images that repeat each other, the first of each class."""
    rows = [
        [
            name,
            ", ".join(group[:_SHOWN_NAMES])
            + (f" and {len(group) - _SHOWN_NAMES} more" if len(group) > _SHOWN_NAMES else ""),
        ]
        for name, part in found.items()
        for group in part["duplicates"]["groups"][:_SHOWN_GROUPS]
    ]
    return f"<h3>Images that repeat each other</h3>{_table(('class', 'images'), rows)}" if rows else ""


def show_usefulness(usefulness: Mapping[str, Any] | None) -> str:
    """Accuracies after training on either kind of images, their difference, and how many of each class were found."""
    if not usefulness:
        return ""
    entries = {kind: usefulness[kind] for kind in ("synthetic", "real")}
    classes = list(dict.fromkeys(name for entry in entries.values() for name in entry["recall"]))
    rows = [
        [
            f"{kind} (n = {entry['n_train']:,})",
            _percent(entry),
            *(_share(entry["recall"].get(name)) for name in classes),
        ]
        for kind, entry in entries.items()
    ]
    if difference := usefulness["difference"]:
        rows.append(["difference, real less synthetic", _percent(difference, "points"), *("" for _ in classes)])
    head = ("trained on", "accuracy on fresh real images", *(f"{name} found" for name in classes))
    n_test = entries["synthetic"]["n_test"]
    note = f"<p>Tested on {n_test:,} fresh real images. Brackets are 95 % intervals.</p>"
    return "<h2>Usefulness</h2>" + _table(head, rows) + note


def _percent(entry: Mapping[str, Any], unit: str = "%") -> str:
    ends = ends_of(entry["interval"])
    between = f" ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else ""
    return f"{100 * entry['accuracy']:.1f} {unit}{between}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
