"""The kustomize base runs the same processes as the embedded platform; no cluster is needed to check that."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.embedded.processes import WORKERS

K8S = Path(__file__).resolve().parents[2] / "deploy" / "k8s"


def documents(folder: Path) -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = [folder / name for name in kustomization["resources"] if name.endswith(".yaml")]
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


@pytest.fixture(scope="module")
def deployments() -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d for d in documents(K8S / "base") if d["kind"] == "Deployment"}


def test_one_deployment_for_each_process(deployments: dict[str, dict[str, Any]]) -> None:
    apis = {f"{name}-api" for name in ("preprocess", "generator", "evaluator", "classifier")}
    assert set(deployments) == {"gateway", "sweeper", *apis, *WORKERS}


def test_workers_read_the_queues_of_the_embedded_ones(deployments: dict[str, dict[str, Any]]) -> None:
    for name, (module, queue) in WORKERS.items():
        command = deployments[name]["spec"]["template"]["spec"]["containers"][0]["command"]
        assert command[command.index("-A") + 1] == module
        assert command[command.index("-Q") + 1] == queue


def test_an_upgrade_deletes_the_last_migration_migrates_and_then_rolls_out() -> None:
    """The template of a Job cannot change, and waiting for the last version's Job would return at once."""
    text = (K8S / "base" / "migrate.yaml").read_text()
    steps = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#   ")]
    job = yaml.safe_load(text)
    (label,) = job["metadata"]["labels"].items()
    assert steps == [
        f"kubectl -n synthmri delete job {job['metadata']['name']} --ignore-not-found",
        f"kubectl apply -k deploy/k8s/base -l {'='.join(label)}",
        f"kubectl -n synthmri wait --for=condition=complete --timeout=600s job/{job['metadata']['name']}",
        "kubectl apply -k deploy/k8s/base",
    ]
    assert job["spec"]["ttlSecondsAfterFinished"] > 600
    others = [d for d in documents(K8S / "base") if d["metadata"].get("labels", {}).get(label[0]) == label[1]]
    assert others == [job]


def test_nothing_runs_as_root_and_every_memory_is_bounded(deployments: dict[str, dict[str, Any]]) -> None:
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert "memory" in pod["containers"][0]["resources"]["limits"]


def test_services_select_pods_that_exist(deployments: dict[str, dict[str, Any]]) -> None:
    services = [d for d in documents(K8S / "base") if d["kind"] == "Service"]
    assert len(services) == 5
    for service in services:
        assert (
            service["spec"]["selector"] == deployments[service["metadata"]["name"]]["spec"]["selector"]["matchLabels"]
        )


def test_overlays_touch_deployments_that_exist(deployments: dict[str, dict[str, Any]]) -> None:
    gpu = yaml.safe_load((K8S / "overlays" / "gpu" / "kustomization.yaml").read_text())
    assert {patch["target"]["name"] for patch in gpu["patches"]} <= set(deployments)
    scaled = [d for d in documents(K8S / "overlays" / "keda") if d["kind"] == "ScaledObject"]
    lists = {d["spec"]["scaleTargetRef"]["name"]: d["spec"]["triggers"][0]["metadata"]["listName"] for d in scaled}
    assert lists == {name: queue for name, (_, queue) in WORKERS.items()}
