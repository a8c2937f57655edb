"""The tree keeps its own rules: science is watched by import-linter, files stay short, apis start light."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EDGES = {
    "api", "tasks", "service", "settings",
    # Between an edge and the science: load sources, keep models warm, store library weights.
    "sources", "shipped_model", "starting_models", "memory", "corrections",
    "jobs", "train_jobs", "keep_jobs", "import_jobs", "sample_jobs", "redraw_jobs", "calibrate_jobs",
    "illustrations", "outcome", "preparation", "threads",
    "serving", "requests",
    "evaluation_jobs", "audit_jobs", "exclude_jobs", "installation", "spaces", "cache", "installed", "published",
}  # fmt: skip
FRAMEWORKS = ("torch", "tensorflow", "keras", "monai", "torch_fidelity", "diffusers")


def modules_of_services() -> list[str]:
    files = [path for path in (ROOT / "services").rglob("*.py") if path.stem != "__init__"]
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)


def test_every_module_of_a_service_is_an_edge_or_watched_as_science() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    science = set(contracts[0]["source_modules"])
    modules = modules_of_services()
    unwatched = [name for name in modules if name not in science and name.split(".")[-1] not in EDGES]
    assert unwatched == []
    assert science <= set(modules)


def test_no_file_is_longer_than_three_hundred_lines() -> None:
    folders = ("gateway", "services", "shared", "deploy")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert {str(path): n for path in files if (n := len(path.read_text().splitlines())) > 300} == {}


@pytest.mark.parametrize(
    "module",
    [
        "gateway.app", "shared.jobs.sweeper",
        "services.preprocess.api", "services.generator.api", "services.evaluator.api", "services.classifier.api",
        "services.preprocess.tasks", "services.generator.tasks",
        "services.evaluator.tasks", "services.classifier.tasks",
    ],
)  # fmt: skip
def test_processes_start_without_a_deep_learning_framework(module: str) -> None:
    code = f"import {module}, sys; print([name for name in {FRAMEWORKS!r} if name in sys.modules])"
    environ = {"SYNTHMRI_ENVIRONMENT": "development", "PATH": "/usr/bin:/bin"}
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr
