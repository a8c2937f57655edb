"""The README's curl session, run as it stands, on real MRIs."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.embedded_platform import PROJECT, EmbeddedPlatform

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.data, pytest.mark.timeout(1500)]


def session() -> str:
    """The bash block of the README."""
    found = re.search(r"```bash\n(.*?)```", (PROJECT / "README.md").read_text(), flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_the_session_runs_as_it_stands(platform: EmbeddedPlatform, data_dir: Path, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "DATA": str(data_dir / "brain-tumor-mri"),
        "SYNTHMRI_PORT": str(platform.port),
        "SYNTHMRI_DATA_DIR": str(platform.data_dir),
    }
    script = "set -euo pipefail\n" + session()
    answer = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "600 distinct PNGs" in answer.stdout
    assert answer.stdout.count("succeeded") == 6
    assert '"probabilities"' in answer.stdout
    assert (tmp_path / "scenario.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "glioma-grid.png").read_bytes().startswith(b"\x89PNG")
