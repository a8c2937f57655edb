"""Loopback ports: which are free, and which ones this platform chose at its first start.

Ports are chosen below the kernel's ephemeral range: a port inside it can be taken by any outgoing connection while its
server restarts, and a client that retries a dead server there can even be connected to itself.
"""

import json
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from deploy.embedded.console import CannotStart
from deploy.embedded.folder import write_private

LOWEST_PORT = 20_000
# Linux's default ip_local_port_range starts here (Documentation/networking/ip-sysctl.rst); macOS starts at 49152.
EPHEMERAL_FROM = 32_768


def is_free(host: str, port: int) -> bool:
    """Whether a server can listen on `host`:`port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection of the past in TIME_WAIT does not make the port taken, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_free_port(avoid: set[int]) -> int:
    """A free loopback port outside the ephemeral range and not in `avoid`.

    Raises:
        CannotStart: a thousand tries found none.
    """
    for _ in range(1000):
        port = LOWEST_PORT + secrets.randbelow(EPHEMERAL_FROM - LOWEST_PORT)
        if port not in avoid and is_free("127.0.0.1", port):
            return port
    raise CannotStart(f"No free port was found on 127.0.0.1 between {LOWEST_PORT} and {EPHEMERAL_FROM}.")


def remember_ports(path: Path, names: Sequence[str], avoid: set[int]) -> dict[str, int]:
    """One port for each name: the remembered one while it is free, else a new one, remembered in `path`."""
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    ports: dict[str, int] = {}
    for name in names:
        used = avoid | set(ports.values())
        port = known.get(name)
        if not isinstance(port, int) or port in used or not is_free("127.0.0.1", port):
            port = choose_free_port(used | {other for other in known.values() if isinstance(other, int)})
        ports[name] = port
    if ports != known:
        write_private(path, json.dumps({**known, **ports}, indent=2))
    return ports
