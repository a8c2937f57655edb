"""The evaluation report as a page that needs nothing from elsewhere."""

import base64
import html
from typing import Any

from services.evaluator.reports.evaluation import format_number, tables_of

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:52rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}p.sub{color:#57606a;margin-top:0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.45rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}
th{font-weight:600;border-bottom:2px solid #57606a}td small{color:#57606a;white-space:nowrap}
.scroll{overflow-x:auto}img{max-width:100%;height:auto}li{margin:.3rem 0}code{overflow-wrap:anywhere}
"""


def render_html(report: dict[str, Any], chart_png: bytes, embedding_png: bytes | None = None) -> bytes:
    """One self-contained page: chart, tables for all images and each class, map, warnings, how to read the scores."""
    chart = base64.b64encode(chart_png).decode()
    tables = "".join(_section(report, table) for table in tables_of(report))
    warnings = "".join(f"<li>{html.escape(warning)}</li>" for warning in report["warnings"])
    features = report["features"]
    title = html.escape(f"Evaluation: {report['class'] or 'all classes'}")
    model = f", model {html.escape(features['model'])}" if features.get("model") else ""
    page = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p class="sub">{report["n_synthetic"]} synthetic images of {html.escape(report["synthetic"])} against {report["n_real"]}
real images of {html.escape(report["real"])} ({html.escape(report["split"])})</p>
<img alt="Each score of the synthetic images beside that of real images" src="data:image/png;base64,{chart}">
{tables}
{_map(embedding_png)}
<h2>Read this first</h2><ul>{warnings}</ul>
<h2>How it was measured</h2>
<ul><li>Features: {html.escape(features["name"])}{model}, {features["n_features"]} per image, {_origin(features)}
<code>{html.escape(features["sha256"])}</code>.{_cache_sentence(report)}</li>
<li>Images at {report["size_px"][0]} x {report["size_px"][1]} px, gray, 8 bit. Seed {report["seed"]}.</li>
<li>Brackets are 95 % intervals. For the Fréchet distance and the Inception score they show the spread at this n
(bootstrap, centred on the value; by Student's t where resamples are few), not their bias; for the kernel distance a
jackknife standard error; for precision, recall, density and coverage the spread of random halves (delete-half
jackknife, centred on the value; Wilson's where the halves do not differ), because the bootstrap repeats images and a
repeated image is its own neighbour; for the extrapolated distance a jackknife over ten groups.</li>
<li>Precision: share of synthetic images among real ones. Recall: share of real images among synthetic ones. Density:
how many real neighbourhoods a synthetic image lies in, 1 for equal sets. Coverage: share of real images with a
synthetic one near.</li>
<li>{_floor_sentence(report)}
For the Inception score "real images" is the score of the real images. Natural logarithm throughout{
        ", but for the study's figures" if report.get("study") else ""
    }.</li></ul>
</body></html>"""
    return page.encode()


def _origin(features: dict[str, Any]) -> str:
    """What the hash of the feature space is a hash of."""
    library = features.get("library")
    return f"library and settings ({html.escape(library)})" if library else "weights"


def _map(embedding_png: bytes | None) -> str:
    if embedding_png is None:
        return ""
    picture = base64.b64encode(embedding_png).decode()
    alt = "Synthetic and real images as points on a map of their features, by class"
    return f'<h2>Map of the features</h2><img alt="{alt}" src="data:image/png;base64,{picture}">'


def _section(report: dict[str, Any], table: dict[str, Any]) -> str:
    """One table of scores with its heading, and the study's figures below it."""
    heading = "Scores" if not report.get("by_class") else f"Scores: {table['class'] or 'all classes together'}"
    rows = "".join(_row(entry) for entry in table["metrics"])
    return f"<h2>{html.escape(heading)}</h2>{_table(rows)}{_study_section(table.get('study'))}"


def _table(rows: str) -> str:
    return f"""<div class="scroll"><table><thead><tr><th>Score</th><th>Synthetic</th><th>Real images</th>
<th>Images</th></tr></thead><tbody>{rows}</tbody></table></div>"""


def _study_section(study: dict[str, Any] | None) -> str:
    if study is None:
        return ""
    rows = "".join(_study_row(entry) for entry in study["entries"])
    return f"<h3>The published study's figures, {html.escape(study['mark'])} with any others</h3>{_table(rows)}"


def _study_row(entry: dict[str, Any]) -> str:
    label = f"{entry['label']}. {entry['network']}"
    if entry["value"] is None:
        why = html.escape(entry.get("why") or "not available")
        return f'<tr><td>{html.escape(label)}</td><td colspan="3">{why}</td></tr>'
    return _row({**entry, "label": label})


def _row(entry: dict[str, Any]) -> str:
    real = entry["real"]
    beside = "&ndash;"
    if real:
        sizes = " and ".join(str(n) for n in real["n"])
        beside = f"{_value(real)}<br><small>{html.escape(real['what'])}, n = {sizes}</small>"
    arrow = "lower is better" if entry["better"] == "lower" else "higher is better"
    return (
        f"<tr><td>{html.escape(entry['label'])}<br><small>{arrow}</small></td><td>{_value(entry)}</td><td>{beside}</td>"
        f"<td>{entry['n_synthetic']} / {entry['n_real']}</td></tr>"
    )


def _value(entry: dict[str, Any]) -> str:
    interval = entry["interval"]
    text = format_number(entry["value"])
    if interval is not None:
        ends = f"{format_number(interval['low'])} to {format_number(interval['high'])}"
        text = f"<b>{text}</b> <small>[{ends}]</small>"
    if "true_value" in entry:
        text += f"<br><small>the right score: {format_number(entry['true_value'])}</small>"
    return text


def _cache_sentence(report: dict[str, Any]) -> str:
    counters = report.get("cache")
    if not counters:
        return ""
    computed, kept = (sum(side[key] for side in counters.values()) for key in ("computed", "from_cache"))
    return f" Features of {computed} images were computed for this report, those of {kept} were there already."


def _floor_sentence(report: dict[str, Any]) -> str:
    floor = report["floor"]
    if floor is None:
        return "No distance of real from real is given: there are too few real images."
    sizes = " and ".join(str(n) for n in floor["n"])
    beside = " The floor of each class stands beside its scores." if report.get("by_class") else ""
    return (
        '"Real images" is the same score of real against real, what a perfect generator would reach at the '
        f"floor's own n: {html.escape(floor['what'])} (n = {sizes}).{beside}"
    )
