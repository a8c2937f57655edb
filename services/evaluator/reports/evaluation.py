"""What an evaluation report warns of, and its scores as a table."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from services.evaluator.metrics.selection import Caution

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
    "class",
    "note",
)
"""Columns of table.csv; `low` and `high` end the 95 % interval, `real_...` is the same score of real images."""


def feature_cautions(
    feature_space: str,
    n_features: int,
    sizes: Sequence[int],
    class_sizes: Mapping[str, Sequence[int]] | None = None,
    *,
    verified: bool,
) -> list[Caution]:
    """What the feature space does to the scores.

    Args:
        feature_space: "inception", "classifier" or "radiomics".
        n_features: features per image.
        sizes: numbers of images on the two sides.
        class_sizes: the same of each class that has scores of its own; None: there are no such scores.
        verified: whether the weights are the published ones.
    """
    found = []
    if few := _say_few(n_features, sizes, class_sizes or {}):
        sentence = (
            f"{few} not more than the {n_features} features: the covariance is rank-deficient and the Fréchet distance "
            "biased upwards. Compare it only at this n, and with the floor. Its extrapolation to infinite n assumes "
            "more images than features, and is a rough estimate here."
        )
        found.append(Caution("fewer_images_than_features", sentence))
    if feature_space == "inception":
        sentence = "Inception knows photographs, not MRIs: its score of everyday objects says little about anatomy."
        found.append(Caution("features_of_photographs", sentence))
    elif feature_space == "radiomics":
        sentence = (
            "Radiomics features are compared on the scale of the real images (mean 0, standard deviation 1). They are "
            "those of the Fréchet Radiomics Distance without its image filters, and the distance is given itself, not "
            "its logarithm: do not compare it with published FRD values."
        )
        found.append(Caution("features_of_radiomics", sentence))
    else:
        sentence = (
            "These are features and probabilities of a tumour classifier of this platform, not Inception's: the scores "
            "compare sets under this one classifier and cannot be compared with published FID, KID or IS. Distances of "
            "two sets can change places under another training of the classifier: before calling one set nearer to the "
            "real one, ask a second classifier."
        )
        found.append(Caution("features_of_a_classifier", sentence))
    if not verified:
        sentence = "UNVERIFIED WEIGHTS: their hash is not the published one. These scores are for tests only."
        found.append(Caution("unverified_weights", sentence))
    return found


def _say_few(n_features: int, sizes: Sequence[int], class_sizes: Mapping[str, Sequence[int]]) -> str:
    """Which images are not more than the features, as the beginning of a sentence; empty where none are."""
    smallest = {name: min(of_class) for name, of_class in class_sizes.items()}
    if min(sizes) <= n_features:
        fewest = f", and in single classes as few as {min(smallest.values())}," if smallest else ""
        return f"{min(sizes)} images{fewest} are"
    few = [f"{n} of {name}" for name, n in smallest.items() if n <= n_features]
    return f"All images together are enough, but those of single classes ({', '.join(few)}) are" if few else ""


def render_csv(report: dict[str, Any]) -> bytes:
    """The scores as UTF-8 CSV, one row per class and metric; numbers with all their digits."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in tables_of(report):
        for entry in table["metrics"]:
            writer.writerow({**_row(table, entry), **_features_of(report), "note": ""})
        for entry in (table.get("study") or {"entries": []})["entries"]:
            note = entry.get("why") or f"{report['study']['mark']}: {entry['network']}"
            writer.writerow({**_row(table, entry), "note": note})
    return out.getvalue().encode()


def tables_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The tables of a report: the one over all images, then those of single classes."""
    return [report, *report.get("by_class", [])]


def format_number(value: float) -> str:
    """Four significant digits without an exponent, for people."""
    if value == 0:
        return "0"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.2e}"


def _row(table: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    real = entry["real"] or {}
    return {
        "metric": entry["metric"],
        "label": entry["label"],
        "value": entry["value"],
        **_ends("", entry),
        "n_synthetic": entry["n_synthetic"],
        "n_real": entry["n_real"],
        "real_value": real.get("value"),
        **_ends("real_", real),
        "real_what": real.get("what"),
        "class": table["class"] or "all",
    }


def _features_of(report: dict[str, Any]) -> dict[str, Any]:
    return {"features": report["features"]["name"], "features_sha256": report["features"]["sha256"]}


def _ends(prefix: str, entry: dict[str, Any]) -> dict[str, Any]:
    interval = entry.get("interval") or {}
    return {f"{prefix}low": interval.get("low"), f"{prefix}high": interval.get("high")}
