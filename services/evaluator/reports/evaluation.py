"""The evaluation report as JSON, as a table and as a page that needs nothing from elsewhere."""

import base64
import csv
import html
import io
from collections.abc import Sequence
from typing import Any

COLUMNS = (
    "metric",
    "label",
    "value",
    "low",
    "high",
    "n_synthetic",
    "n_real",
    "real_value",
    "real_low",
    "real_high",
    "real_what",
    "features",
    "features_sha256",
)
"""Columns of table.csv; `low` and `high` end the 95 % interval, `real_...` is the same score of real images."""

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff;max-width:52rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}p.sub{color:#57606a;margin-top:0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.45rem .6rem;border-bottom:1px solid #d8dee4;vertical-align:top}
th{font-weight:600;border-bottom:2px solid #57606a}td small{color:#57606a;white-space:nowrap}
.scroll{overflow-x:auto}img{max-width:100%;height:auto}li{margin:.3rem 0}code{overflow-wrap:anywhere}
"""


def feature_warnings(feature_space: str, n_features: int, sizes: Sequence[int], *, verified: bool) -> list[str]:
    """Sentences on what the feature space does to the scores.

    Args:
        feature_space: "inception" or "classifier".
        n_features: features per image.
        sizes: numbers of images on the two sides.
        verified: whether the weights are the published ones.
    """
    found = []
    if min(sizes) <= n_features:
        found.append(
            f"{min(sizes)} images are not more than the {n_features} features: the covariance is rank-deficient and "
            "the Fréchet distance biased upwards. Compare it only at this n, and with the floor."
        )
    if feature_space == "inception":
        found.append("Inception knows photographs, not MRIs: its score of everyday objects says little about anatomy.")
    else:
        found.append(
            "These are features and probabilities of a tumour classifier of this platform, not Inception's: the scores "
            "compare sets under this one classifier and cannot be compared with published FID, KID or IS."
        )
    if not verified:
        found.append("UNVERIFIED WEIGHTS: their hash is not the published one. These scores are for tests only.")
    return found


def render_csv(report: dict[str, Any]) -> bytes:
    """The scores as UTF-8 CSV, one row per metric; numbers with all their digits."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for entry in report["metrics"]:
        real = entry["real"] or {}
        writer.writerow(
            {
                "metric": entry["metric"],
                "label": entry["label"],
                "value": entry["value"],
                **_ends("", entry),
                "n_synthetic": entry["n_synthetic"],
                "n_real": entry["n_real"],
                "real_value": real.get("value"),
                **_ends("real_", real),
                "real_what": real.get("what"),
                "features": report["features"]["name"],
                "features_sha256": report["features"]["sha256"],
            }
        )
    return out.getvalue().encode()


def render_html(report: dict[str, Any], chart_png: bytes) -> bytes:
    """One self-contained page: chart, table, warnings, and how to read the scores."""
    chart = base64.b64encode(chart_png).decode()
    rows = "".join(_row(entry) for entry in report["metrics"])
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
<h2>Scores</h2><div class="scroll"><table><thead><tr><th>Score</th><th>Synthetic</th><th>Real images</th>
<th>Images</th></tr></thead>
<tbody>{rows}</tbody></table></div>
<h2>Read this first</h2><ul>{warnings}</ul>
<h2>How it was measured</h2>
<ul><li>Features: {html.escape(features["name"])}{model}, {features["n_features"]} per image, weights
<code>{html.escape(features["sha256"])}</code>.</li>
<li>Images at {report["size_px"][0]} x {report["size_px"][1]} px, gray, 8 bit. Seed {report["seed"]}.</li>
<li>Brackets are 95 % intervals. For the Fréchet distance and the Inception score they show the spread at this n
(bootstrap, centred on the value), not their bias; for the kernel distance a jackknife standard error.</li>
<li>{_floor_sentence(report)}
For the Inception score "real images" is the score of the real images. Natural logarithm throughout.</li></ul>
</body></html>"""
    return page.encode()


def format_number(value: float) -> str:
    """Four significant digits without an exponent, for people."""
    if value == 0:
        return "0"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.2e}"


def _floor_sentence(report: dict[str, Any]) -> str:
    floor = report["floor"]
    if floor is None:
        return "No distance of real from real is given: there are too few real images."
    sizes = " and ".join(str(n) for n in floor["n"])
    return (
        '"Real images" is the distance of real from real, the floor a perfect generator would reach: '
        f"{html.escape(floor['what'])} (n = {sizes})."
    )


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
    if interval is None:
        return format_number(entry["value"])
    ends = f"{format_number(interval['low'])} to {format_number(interval['high'])}"
    return f"<b>{format_number(entry['value'])}</b> <small>[{ends}]</small>"


def _ends(prefix: str, entry: dict[str, Any]) -> dict[str, Any]:
    interval = entry.get("interval") or {}
    return {f"{prefix}low": interval.get("low"), f"{prefix}high": interval.get("high")}
