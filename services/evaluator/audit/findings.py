"""What an audit found, as sentences, worst first."""

from typing import Any


def list_findings(classes: dict[str, dict[str, Any]], usefulness: dict[str, Any] | None) -> list[dict[str, Any]]:
    """[{"check", "class" (None: of several classes), "severity" (problem, notice, fine), "sentence"}].

    Args:
        classes: by class, results under "memorisation", "shortcuts" and "diversity", each possibly absent or None.
        usefulness: result of `summarise_usefulness`, or None.
    """
    raise NotImplementedError
