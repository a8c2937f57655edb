"""List and install library weights, from a file or from the library's own source."""

from typing import Any

from services.evaluator.settings import get_evaluator_settings
from services.evaluator.weights import installed
from services.evaluator.weights.published import known_weights
from shared.objects import get_objects


def list_library_weights() -> list[dict[str, Any]]:
    """Every known file of library weights, installed or not."""
    return installed.list_weights(get_objects())


def install_library_weights(name: str, data: bytes | None, file_name: str | None) -> dict[str, Any]:
    """Install weights from an uploaded file or, without one, from the library's own source; returns the record.

    Raises:
        UnknownWeights: no weights of this name.
        WeightsTruncated, WeightsHashWrong, WeightsUnreadable: the file is not the published one; nothing is stored.
        WeightsSourceUnreachable: no file, and the source does not answer.
    """
    settings = get_evaluator_settings()
    weights = known_weights(name)
    source = f"file {file_name or 'without a name'}"
    if data is None:
        source = weights.url
        data = installed.download_weights(
            weights, timeout_s=settings.weights_timeout_s, max_bytes=settings.weights_max_bytes
        )
    return installed.install_weights(
        get_objects(), weights, data, source=source, allow_unverified=settings.allow_unverified_weights
    )
