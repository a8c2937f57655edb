"""The audit report as a page that needs nothing from elsewhere: findings first, then what each check measured."""

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.evaluator.reports.audit_chart import ends_of
from services.evaluator.reports.evaluation import format_number

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}h3{font-size:1rem;margin:1.4rem 0 .3rem}
p.sub{color:#57606a;margin-top:0}small{color:#57606a}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92em}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}
th{font-weight:600;border-bottom:2px solid #57606a}td.name{overflow-wrap:anywhere}
.scroll{overflow-x:auto}img{max-width:100%;height:auto}figure{margin:1.2rem 0}figcaption{font-size:.9em;color:#57606a}
ul.findings{list-style:none;padding:0}ul.findings li{border-left:4px solid #d8dee4;padding:.3rem .8rem;margin:.5rem 0}
ul.findings li.problem{border-color:#b3261e}ul.findings li.notice{border-color:#e69f00}
ul.findings li.fine{border-color:#009e73}b.mark{display:inline-block;min-width:5.2rem}
"""
_MARKS: Final = {"problem": "Problem", "notice": "Notice", "fine": "Fine"}
_SHOWN_COPIES: Final = 200
_ALT: Final = {
    "chart.png": "The audit at a glance: cues by class, the detector and usefulness",
    "spectra.png": "Power spectra of synthetic and real images, by class",
    "embedding.png": "Synthetic and real images as points on a map, by class",
}
_HOW: Final = {
    "memorisation": "Memorisation: every synthetic image was compared with every real image of the reference, mirrored "
    "and turned by small angles as well. Thresholds come from the fresh real images: what they reach by chance is no "
    "copy.",
    "shortcuts": "Shortcuts: each cue is one number per image. Effect sizes are Cliff's delta: the chance that a "
    "synthetic image has more of it than a real one, less the chance that it has less; 0 is alike, 1 and -1 are "
    "apart. The detector is a small classifier on such numbers, cross-validated; an AUC of 0.5 is chance.",
    "diversity": "Diversity: near-duplicates inside the set, the mix of imaging planes as a rule learnt from the real "
    "images predicts it, and how much of the real images' range the synthetic ones cover.",
    "usefulness": "Usefulness: one small network was trained on the synthetic images, and the same on as many real "
    "ones, with three seeds each; both were tested on the same fresh real images.",
}
_LIMITS: Final = (
    "It compares with the images of this real set only: a copy of an image that is not in it cannot be found.",
    "Correlation finds copies of whole slices, mirrored or slightly turned; a copied part of an image, such as a "
    "tumour on another head, it may miss.",
    "No finding says whether the anatomy is right: that takes a radiologist's eye.",
    "Usefulness is that of one small network. Another network, or more images, may learn otherwise.",
)


def render_page(report: Mapping[str, Any], title: str, pictures: Mapping[str, bytes]) -> bytes:
    """The page, HTML in UTF-8.

    Args:
        report: the report's JSON.
        title: its heading.
        pictures: PNG bytes by file name, in the order in which they are to be shown.
    """
    classes = report["classes"]
    sections = [
        _head(report, title),
        _findings(report["findings"]),
        _list("Read this first", report["warnings"]),
        _figure("chart.png", pictures),
        _memorisation(classes, pictures),
        _shortcuts(classes, pictures),
        _diversity(classes, pictures),
        _usefulness(report["usefulness"]),
        _list("How it was measured", [*(_HOW[check] for check in report["checks"]), _measured_at(report)]),
        _list("What it does not show", _LIMITS),
    ]
    return "\n".join([*filter(None, sections), "</body></html>"]).encode()


def _head(report: Mapping[str, Any], title: str) -> str:
    counts = "; ".join(
        f"{html.escape(name)} {found['n_synthetic']:,} against {found['n_reference']:,}"
        for name, found in report["classes"].items()
    )
    of = f" ({counts})" if counts else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{html.escape(title)}</h1><p class=sub>Synthetic images of {html.escape(report['synthetic'])} against "
        f"real {html.escape(report['split'])} images of {html.escape(report['real'])}{of}</p>"
    )


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<h2>Findings</h2><p>None.</p>"
    items = "".join(
        f'<li class="{html.escape(finding["severity"])}"><b class=mark>{_MARKS[finding["severity"]]}</b> '
        f"{html.escape(finding['sentence'])} <small>{html.escape(_where(finding))}</small></li>"
        for finding in findings
    )
    return f"<h2>Findings</h2><ul class=findings>{items}</ul>"


def _where(finding: Mapping[str, Any]) -> str:
    return f"{finding['check']}, {finding['class']}" if finding.get("class") else finding["check"]


def _list(heading: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>{heading}</h2><ul>{items}</ul>" if items else ""


def _figure(name: str, pictures: Mapping[str, bytes], alt: str | None = None) -> str:
    if name not in pictures:
        return ""
    source = f"data:image/png;base64,{base64.b64encode(pictures[name]).decode()}"
    return f'<figure><img alt="{html.escape(alt or _ALT[name])}" src="{source}"></figure>'


def _memorisation(classes: Mapping[str, Mapping[str, Any]], pictures: Mapping[str, bytes]) -> str:
    found = {name: of_class["memorisation"] for name, of_class in classes.items() if "memorisation" in of_class}
    if not found:
        return ""
    copies = [(name, copy) for name, part in found.items() for copy in part["copies"]]
    parts = ["<h2>Memorisation</h2>", _facts_table({name: part["summary"] for name, part in found.items()})]
    if copies:
        parts.append(f"<h3>Copies: {len(copies):,}</h3>" + _copies_table(copies[:_SHOWN_COPIES]))
        if len(copies) > _SHOWN_COPIES:
            parts.append(f"<p>The first {_SHOWN_COPIES} are shown; copies.csv has them all.</p>")
    for name in found:
        sheet = _figure(f"nearest-{name}.png", pictures, f"Nearest pairs of {name}: synthetic, real, difference")
        parts.append(f"<h3>Nearest pairs: {html.escape(name)}</h3>{sheet}" if sheet else "")
    return "".join(parts)


def _copies_table(copies: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    rows = [[name, copy["name"], copy["nearest"], _turned(copy), f"{copy['correlation']:.4f}"] for name, copy in copies]
    return _table(("class", "synthetic image", "is a copy of", "how", "correlation"), rows)


def _turned(pair: Mapping[str, Any]) -> str:
    ways = ["mirrored"] if pair["mirrored"] else []
    if abs(pair["angle_deg"]) >= 0.5:
        ways.append(f"turned by {pair['angle_deg']:+.1f}°")
    return ", ".join(ways) or "as it is"


def _shortcuts(classes: Mapping[str, Mapping[str, Any]], pictures: Mapping[str, bytes]) -> str:
    found = {name: of_class["shortcuts"] for name, of_class in classes.items() if "shortcuts" in of_class}
    if not found:
        return ""
    head = ("cue", "synthetic", "real (reference)", "fresh real", "Cliff's delta", "")
    parts = ["<h2>Shortcuts</h2><p>Medians, with the range from the 5th to the 95th percentile.</p>"]
    for name, part in found.items():
        detector = part["detector"]
        rows = [
            [_cue_name(cue), *(_range(cue.get(side)) for side in ("synthetic", "reference", "baseline")), _effect(cue),
             _MARKS[cue["severity"]]]
            for cue in part["cues"]
        ]  # fmt: skip
        auc = f"Detector: AUC {detector['auc']:.3f} ({detector['low']:.3f} to {detector['high']:.3f})"
        if detector.get("auc_of_baseline") is not None:
            auc += f"; fresh real against real: {detector['auc_of_baseline']:.3f}"
        parts.append(f"<h3>{html.escape(name)}</h3>{_table(head, rows)}<p>{auc}.</p>")
    return "".join(parts) + _figure("spectra.png", pictures)


def _cue_name(cue: Mapping[str, Any]) -> str:
    words = str(cue["cue"]).replace("_", " ")
    return f"{words} ({cue['unit']})" if cue.get("unit") else words


def _range(side: Mapping[str, Any] | None) -> str:
    if not side or side.get("median") is None:
        return "–"
    text = format_number(side["median"])
    if side.get("low") is None:
        return text
    return f"{text} ({format_number(side['low'])} to {format_number(side['high'])})"


def _effect(cue: Mapping[str, Any]) -> str:
    if cue.get("effect_size") is None:
        return "–"
    ends = ends_of(cue.get("interval"))
    beside = f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
    return f"{cue['effect_size']:.2f}{beside}"


def _diversity(classes: Mapping[str, Mapping[str, Any]], pictures: Mapping[str, bytes]) -> str:
    found = {name: of_class["diversity"] for name, of_class in classes.items() if "diversity" in of_class}
    picture = _figure("embedding.png", pictures)
    if not found:
        return f"<h2>Map of the images</h2>{picture}" if picture else ""
    return "<h2>Diversity</h2>" + _facts_table(found) + picture


def _usefulness(usefulness: Mapping[str, Any] | None) -> str:
    if not usefulness:
        return ""
    rows = []
    for kind in ("synthetic", "real"):
        entry = usefulness[kind]
        ends = ends_of(entry["interval"])
        between = f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %" if ends else "–"
        rows.append([kind, f"{100 * entry['accuracy']:.1f} %", between])
    return "<h2>Usefulness</h2>" + _table(("trained on", "accuracy on fresh real images", "95 % interval"), rows)


def _measured_at(report: Mapping[str, Any]) -> str:
    width, height = report["size_px"]
    return f"Images at {width} x {height} px, gray, 8 bit. Seed {report['seed']}."


def _facts_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A row per fact and a column per class, of what can be said in a number or a word."""
    leaves = {name: dict(_leaves(part)) for name, part in found.items()}
    facts = list(dict.fromkeys(fact for part in leaves.values() for fact in part))
    rows = [[fact, *(_cell(leaves[name].get(fact)) for name in found)] for fact in facts]
    return _table(("", *found), rows)


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}: {key}" if path else str(key))]
    return [] if isinstance(value, list) else [(path.replace("_", " "), value)]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format_number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td class=name>{html.escape(str(value))}</td>" for value in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
