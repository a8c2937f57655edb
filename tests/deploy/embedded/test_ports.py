import json
import socket
from pathlib import Path

from deploy.embedded.ports import EPHEMERAL_FROM, LOWEST_PORT, choose_free_port, is_free, remember_ports


def listen(port: int = 0) -> socket.socket:
    server = socket.create_server(("127.0.0.1", port))
    server.listen()
    return server


def test_is_free_sees_a_listener_and_its_end() -> None:
    with listen() as server:
        port = server.getsockname()[1]
        assert not is_free("127.0.0.1", port)
    assert is_free("127.0.0.1", port)


def test_chosen_ports_lie_outside_the_ephemeral_range_and_are_free() -> None:
    for _ in range(20):
        port = choose_free_port(set())
        assert LOWEST_PORT <= port < EPHEMERAL_FROM
        assert is_free("127.0.0.1", port)


def test_ports_are_distinct_and_remembered(tmp_path: Path) -> None:
    names = [f"p{index}" for index in range(8)]
    ports = remember_ports(tmp_path / "ports.json", names, avoid=set())
    assert len(set(ports.values())) == len(names)
    assert remember_ports(tmp_path / "ports.json", names, avoid=set()) == ports


def test_only_a_port_that_somebody_else_took_is_chosen_again(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = remember_ports(path, ["redis", "s3"], avoid=set())
    with listen(first["redis"]):
        second = remember_ports(path, ["redis", "s3"], avoid=set())
    assert second["redis"] != first["redis"]
    assert second["s3"] == first["s3"]
    assert json.loads(path.read_text()) == second


def test_the_gateways_port_is_never_given_away(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = remember_ports(path, ["redis"], avoid=set())
    assert remember_ports(path, ["redis"], avoid={first["redis"]}) != first


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    path.write_text("{]")
    assert set(remember_ports(path, ["redis"], avoid=set())) == {"redis"}
