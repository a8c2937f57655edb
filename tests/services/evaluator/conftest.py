"""Fixtures of the evaluator: one database is enough, since both engines are proved in tests/shared."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.evaluator.settings import get_evaluator_settings


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'synthmri.db'}"


@pytest.fixture
def allow_unverified(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Accept weights with seeded numbers."""
    monkeypatch.setenv("SYNTHMRI_ALLOW_UNVERIFIED_WEIGHTS", "true")
    get_evaluator_settings.cache_clear()
    yield
    get_evaluator_settings.cache_clear()
