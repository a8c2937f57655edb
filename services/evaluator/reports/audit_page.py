"""The audit report as a page that needs nothing from elsewhere: findings first, then what each check measured."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.evaluator.reports.audit_sections import (
    MARKS,
    show_diversity,
    show_figure,
    show_memorisation,
    show_shortcuts,
    show_usefulness,
)
from services.evaluator.reports.style import label_sides

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}h3{font-size:1rem;margin:1.4rem 0 .3rem}
p.sub{color:#57606a;margin-top:0}small{color:#57606a}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92em}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}
th{font-weight:600;border-bottom:2px solid #57606a}td{overflow-wrap:break-word;max-width:20rem}
.scroll{overflow-x:auto}img{max-width:100%;height:auto}figure{margin:1.2rem 0}figcaption{font-size:.9em;color:#57606a}
ul.findings{list-style:none;padding:0}ul.findings li{border-left:4px solid #d8dee4;padding:.3rem .8rem;margin:.5rem 0}
ul.findings li.problem{border-color:#b3261e}ul.findings li.notice{border-color:#e69f00}
ul.findings li.fine{border-color:#009e73}b.mark{display:inline-block;min-width:5.2rem}
@media print{details::details-content{content-visibility:visible;display:block}}
"""
_HOW: Final = {
    "memorisation": "Memorisation: of every synthetic image the nearest real one was looked for, mirrored or not and "
    "at small angles, registered, and compared by its gray levels and by its details.",
    "shortcuts": "Shortcuts: each cue is one number per image. Its effect size is Cliff's delta: the chance that a "
    "synthetic image has more of it than a real one, less the chance that it has less; 0 is alike, 1 and -1 are apart. "
    "For file format and native size it is the share by which both mixes differ, 0 to 1; for orientation twice the "
    "share of images taken for mirrored, less 1. The detector is a logistic regression on such numbers, "
    "cross-validated; an AUC of 0.5 is chance.",
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
        show_figure("chart.png", pictures),
        show_memorisation(classes, pictures),
        show_shortcuts(classes, pictures),
        show_diversity(classes, pictures),
        show_usefulness(report["usefulness"]),
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
        f"{html.escape(label_sides(report['split'])['reference'])} images of {html.escape(report['real'])}{of}</p>"
    )


def _findings(findings: Sequence[Mapping[str, Any]]) -> str:
    if not findings:
        return "<h2>Findings</h2><p>None.</p>"
    items = "".join(
        f'<li class="{html.escape(finding["severity"])}"><b class=mark>{MARKS[finding["severity"]]}</b> '
        f"{html.escape(finding['sentence'])} <small>{html.escape(_where(finding))}</small></li>"
        for finding in findings
    )
    return f"<h2>Findings</h2><ul class=findings>{items}</ul>"


def _where(finding: Mapping[str, Any]) -> str:
    return f"{finding['check']}, {finding['class']}" if finding.get("class") else finding["check"]


def _list(heading: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f"<h2>{heading}</h2><ul>{items}</ul>" if items else ""


def _measured_at(report: Mapping[str, Any]) -> str:
    width, height = report["size_px"]
    trained = f" {report['updates']:,} updates in each training." if report["usefulness"] else ""
    return f"Images at {width} x {height} px, gray, 8 bit. Seed {report['seed']}.{trained}"
