"""docker-compose.yml says the same as the embedded platform; no Docker is needed to check that."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.embedded.processes import WORKERS
from shared.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
SERVICES = ("preprocess", "generator", "evaluator", "classifier")


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((PROJECT / name).read_text())
    return content


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return read("docker-compose.yml")["services"]


def test_every_process_of_the_platform_is_there(compose: dict[str, Any]) -> None:
    apis = {f"{name}-api" for name in SERVICES}
    assert set(compose) == {"postgres", "redis", "s3", "migrate", "gateway", "sweeper", *apis, *WORKERS}


def test_workers_run_the_embedded_command_lines(compose: dict[str, Any]) -> None:
    for name, (module, queue) in WORKERS.items():
        command = compose[name]["command"]
        assert f"-A {module} worker" in command
        assert f"-Q {queue} " in command


def test_only_the_gateway_is_published_and_only_on_this_host(compose: dict[str, Any]) -> None:
    assert {name for name, service in compose.items() if service.get("ports")} == {"gateway"}
    assert compose["gateway"]["ports"] == ["127.0.0.1:${SYNTHMRI_PORT:-8000}:8000"]


def test_no_secret_has_a_default_and_every_variable_is_in_the_example() -> None:
    text = (PROJECT / "docker-compose.yml").read_text()
    used = dict(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)(:[^}]*)\}", text))
    example = dict(line.split("=", 1) for line in (PROJECT / ".env.example").read_text().splitlines() if "=" in line)
    assert set(used) == set(example)
    for name, rest in used.items():
        if name != "SYNTHMRI_PORT":
            assert rest.startswith(":?"), name
            assert example[name] == ""


def test_every_variable_given_to_the_processes_is_a_setting(compose: dict[str, Any]) -> None:
    known = {f"SYNTHMRI_{name.upper()}" for name in Settings.model_fields}
    for name in ("gateway", "generator-api", "sweeper", *WORKERS):
        assert set(compose[name]["environment"]) <= known


def test_processes_wait_for_tables_and_stores_and_restart(compose: dict[str, Any]) -> None:
    for name, service in compose.items():
        if name in ("postgres", "redis", "s3", "migrate"):
            assert service.get("healthcheck") or name == "migrate"
            continue
        assert service["restart"] == "always"
        assert set(service["depends_on"]) == {"migrate", "redis", "s3"}


def test_every_image_has_a_lock_file(compose: dict[str, Any]) -> None:
    built = {s["build"]["args"]["SERVICE"] for s in compose.values() if "build" in s}
    assert built == {"gateway", *SERVICES}
    for service in compose.values():
        image = service["image"]
        if image.startswith("synthmri/"):
            assert (PROJECT / "requirements" / f"{image.removeprefix('synthmri/')}.lock").exists()
        else:
            assert ":" in image, "an image without a version"
            assert not image.endswith(":latest")


@pytest.mark.parametrize("name", ["deploy/docker/gpu.yml", "deploy/docker/seaweedfs.yml"])
def test_overrides_change_services_that_exist(compose: dict[str, Any], name: str) -> None:
    assert set(read(name)["services"]) <= set(compose)
