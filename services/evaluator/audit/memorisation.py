"""Copies: synthetic images that are training images, mirrored, turned a little, re-encoded or not."""

from typing import Any

from services.evaluator.audit.images import AuditImages
from shared.progress import Progress


def find_copies(
    synthetic: AuditImages,
    reference: AuditImages,
    baseline: AuditImages | None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The nearest reference image of every synthetic one, and which are copies; see the module."""
    raise NotImplementedError
