"""Shortcuts: what tells synthetic from real images without a look at the anatomy."""

from typing import Any

from services.evaluator.audit.images import AuditImages
from shared.progress import Progress


def measure_shortcuts(
    synthetic: AuditImages,
    reference: AuditImages,
    baseline: AuditImages | None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Each cue with its effect size, the spectra, the detector and the orientation; see the module."""
    raise NotImplementedError
