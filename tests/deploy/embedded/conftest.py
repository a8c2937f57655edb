"""A data folder of one test, and processes that cost nothing to start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.folder import DataFolder
from deploy.embedded.supervision import stop


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    """A created data folder; whatever was launched in it is stopped at the end."""
    made = DataFolder(tmp_path / "data")
    made.create()
    yield made
    stop(made)
