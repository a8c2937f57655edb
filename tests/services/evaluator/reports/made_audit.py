"""An audit report made by hand, as small as it can be with every part."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.evaluator.audit.images import AuditImages, FileFacts

EVIL = '=cmd|"<script>alert(1)</script>.png'
"""A file name that would run in a page, and in a spreadsheet."""


def audit_images(images_u8: NDArray[np.uint8], names: list[str]) -> AuditImages:
    height, width = images_u8.shape[1:]
    facts = FileFacts("PNG", "L", width, height, 100)
    return AuditImages(names, images_u8, [facts] * len(names), [None] * len(names))


def pair(
    name: str, nearest: str, correlation: float, *, mirrored: bool = False, angle_deg: float = 0.0
) -> dict[str, Any]:
    entry = {"name": name, "nearest": nearest, "mirrored": mirrored, "angle_deg": angle_deg}
    return {**entry, "correlation": correlation, "coarse_correlation": correlation, "edge_correlation": correlation}


def make_report() -> dict[str, Any]:
    """Two classes: one with copies and a baseline, one without either and with too few images for a detector."""

    def side(median: float) -> dict[str, float]:
        return {"median": median, "low": median / 2, "high": median * 2}

    def cue(baseline: dict[str, float] | None, effect_size: float | None) -> dict[str, Any]:
        numbers = {"synthetic": side(120.0), "reference": side(480.0), "baseline": baseline}
        effect = {"effect_size": effect_size, "interval": effect_size and {"low": -0.9, "high": -0.7}}
        words = {"cue": "sharpness", "unit": "gray levels squared", "sentence": "4 times less sharp."}
        return {**words, **numbers, **effect, "difference": -360.0, "ratio": 0.25, "severity": "problem"}

    def found(*, full: bool) -> dict[str, Any]:
        quantiles = {m: {"0.5": 0.8, "1": 0.99} for m in ("correlation", "edge_correlation")}
        summary = {"n": 10, "n_above": 1, "share_above": 0.1, "share_mirrored": 0.5, "quantiles": quantiles}
        spectrum = [100.0, 10.0, 1.0, 0.1, 0.01]
        detector: dict[str, Any] = {"auc": 0.99, "low": 0.98, "high": 1.0, "auc_of_baseline": 0.52}
        if not full:
            detector = {
                "auc": None,
                "low": None,
                "high": None,
                "reason": "Fewer than 20 images.",
                "auc_of_baseline": None,
            }
        shares = {"axial": 0.5, "coronal": 0.25, "sagittal": 0.25}
        planes = {**dict.fromkeys(("synthetic", "reference"), shares), "baseline": None, "accuracy": {"share": 0.97}}
        return {
            "n_synthetic": 10,
            "n_reference": 12,
            "n_baseline": 8 if full else 0,
            "memorisation": {
                "copies": [pair(EVIL, "Training/glioma/1.png", 0.99, mirrored=True)] if full else [],
                "thresholds": {"correlation": 0.95, "edge_correlation": 0.9},
                "summary": summary,
                "baseline": summary if full else None,
            },
            "shortcuts": {
                "cues": [cue(side(500.0) if full else None, -0.8 if full else None)],
                "spectra": {
                    "frequency_cycles_per_px": [0.0, 0.125, 0.25, 0.375, 0.5],
                    **dict.fromkeys(("synthetic", "reference"), spectrum),
                    "baseline": spectrum if full else None,
                },
                "detector": detector,
            },
            "diversity": {
                "duplicates": {"n": 10, "n_groups": 1, "n_images": 2, "n_surplus": 1, "groups": [[EVIL, "b.png"]]},
                "planes": planes if full else None,
                "planes_reason": None if full else "The planes are not known.",
                "coverage": {"synthetic": 0.4, "synthetic_of_as_many": 0.35, "baseline": 0.8 if full else None},
            },
        }

    trained = {"n_train": 20, "n_test": 8, "recall": {"glioma": 0.5, "notumor": 0.9}}
    sentence = f"1 of 10 glioma images is a copy: {EVIL}."
    return {
        "synthetic": "set-a",
        "real": "set-b",
        "class": None,
        "split": "Training",
        "checks": ["memorisation", "shortcuts", "diversity", "usefulness"],
        "updates": 1400,
        "seed": 3,
        "size_px": [64, 48],
        "findings": [
            {"check": "memorisation", "class": "glioma", "severity": "problem", "sentence": sentence},
            {"check": "shortcuts", "class": None, "severity": "fine", "sentence": "Nothing else."},
        ],
        "classes": {"glioma": found(full=True), "notumor": found(full=False)},
        "usefulness": {
            "synthetic": {"accuracy": 0.71, "interval": [0.68, 0.74], **trained},
            "real": {"accuracy": 0.91, "interval": [0.89, 0.93], **trained},
            "difference": {"accuracy": 0.2, "interval": [0.16, 0.24]},
        },
        "warnings": [f"An image is called {EVIL}."],
    }
