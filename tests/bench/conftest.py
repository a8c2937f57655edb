"""What all measurements share: the table they are written to, and images."""

import io
import os
import platform as machine
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from deploy.embedded.phantoms import write_phantoms

OUTPUT = Path("bench-output")


@pytest.fixture(scope="session")
def table() -> Iterator[list[tuple[str, str, str]]]:
    """Rows (what, measured, bar), written at the end."""
    rows: list[tuple[str, str, str]] = []
    yield rows
    OUTPUT.mkdir(exist_ok=True)
    head = f"{machine.processor() or machine.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    lines = [f"Measured by `make bench` on {head}.", "", "| what | measured | bar |", "|---|---|---|"]
    text = "\n".join([*lines, *(f"| {what} | {value} | {bar} |" for what, value, bar in rows)]) + "\n"
    (OUTPUT / "bench.md").write_text(text)
    print("\n" + text)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, n_training=24, n_testing=1, seed=0)
    images = []
    for path in sorted(folder.rglob("*.*")):
        out = io.BytesIO()
        Image.open(path).convert("L").resize((512, 512)).save(out, "JPEG", quality=90)
        images.append(out.getvalue())
    return images
