from dataclasses import replace
from pathlib import Path

import pytest

from deploy.embedded.console import CannotStart
from deploy.embedded.folder import DataFolder
from deploy.embedded.plan import Plan, make_plan
from deploy.embedded.ports import choose_free_port
from deploy.embedded.processes import WORKERS, list_processes, redis_configuration
from shared.jobs.states import QUEUES


@pytest.fixture
def plan() -> Plan:
    names = ("redis", "s3", "preprocess", "generator", "evaluator", "classifier")
    ports = {name: 20_000 + index for index, name in enumerate(names)}
    return Plan(DataFolder(Path("/data")), "127.0.0.1", 8000, ports, runs_redis=True, runs_s3=True)


def test_thirteen_processes_storage_first(plan: Plan) -> None:
    processes = list_processes(plan)
    assert len({process.name for process in processes}) == len(processes) == 13
    assert [process.name for process in processes if process.stage == "storage"] == ["redis", "s3"]


def test_preprocessing_has_as_many_workers_as_asked_for(plan: Plan, tmp_path: Path) -> None:
    port = {"SYNTHMRI_PORT": str(choose_free_port(set()))}
    processes = list_processes(replace(plan, preprocess_workers=3))
    workers = {process.name: process.command for process in processes if "preprocess-worker" in process.name}
    assert list(workers) == ["preprocess-worker", "preprocess-worker-2", "preprocess-worker-3"]
    assert len({command[command.index("-n") + 1] for command in workers.values()}) == 3
    assert {command[command.index("-Q") + 1] for command in workers.values()} == {"preprocess"}
    assert make_plan(DataFolder(tmp_path), {"SYNTHMRI_PREPROCESS_WORKERS": "5", **port}).preprocess_workers == 5
    for nonsense in ("0", "many", "1000"):
        with pytest.raises(CannotStart, match="SYNTHMRI_PREPROCESS_WORKERS"):
            make_plan(DataFolder(tmp_path), {"SYNTHMRI_PREPROCESS_WORKERS": nonsense, **port})


def test_external_servers_are_not_started(plan: Plan) -> None:
    alone = Plan(plan.folder, plan.host, plan.port, plan.ports, runs_redis=False, runs_s3=False)
    assert not {"redis", "s3"} & {process.name for process in list_processes(alone)}


def test_every_queue_has_exactly_one_worker_and_its_command_line_names_it(plan: Plan) -> None:
    assert sorted(queue for _, queue in WORKERS.values()) == sorted(set(QUEUES.values()))
    commands = {process.name: process.command for process in list_processes(plan)}
    for name, (_, queue) in WORKERS.items():
        command = commands[name]
        assert command[command.index("-Q") + 1] == queue


def test_no_secret_is_on_a_command_line(plan: Plan) -> None:
    for process in list_processes(plan):
        assert not [word for word in process.command if "secret" in word.lower() or "auth-key" in word]


def test_everything_but_the_gateway_listens_on_loopback(plan: Plan) -> None:
    public = Plan(plan.folder, "0.0.0.0", plan.port, plan.ports, runs_redis=True, runs_s3=True)
    for process in list_processes(public):
        assert ("0.0.0.0" in process.command) == (process.name == "gateway")


def test_redis_keeps_what_it_acknowledged_and_evicts_nothing(plan: Plan) -> None:
    lines = redis_configuration(plan, "password").splitlines()
    for line in ("appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction", 'save ""', "bind 127.0.0.1"):
        assert line in lines
    assert "requirepass password" in lines
