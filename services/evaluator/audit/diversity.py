"""Diversity: repeated images, the mix of planes, and how much of the real images' range the set covers."""

from typing import Any

from services.evaluator.audit.images import AuditImages
from shared.progress import Progress


def measure_diversity(
    synthetic: AuditImages,
    reference: AuditImages,
    baseline: AuditImages | None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Near-duplicate groups, plane mix and coverage of one class."""
    raise NotImplementedError
