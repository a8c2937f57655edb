"""A gateway over real servers, and keys of three teams."""

import threading
from collections.abc import Callable, Iterator, Mapping

import httpx
import pytest
import uvicorn

from gateway.app import create_app
from gateway.keys import create_key
from shared.database import Database
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.gateway.pictures import small_set
from tests.support.servers import free_port, wait_until

Upload = Callable[..., dict]


@pytest.fixture
def gateway(settings: Settings, database: Database, objects: ObjectStore) -> Iterator[httpx.Client]:
    """A client of a gateway that uvicorn serves in a thread; requests carry no key unless a test adds one."""
    port = free_port()
    config = uvicorn.Config(create_app(settings), host="127.0.0.1", port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
        yield client
    server.should_exit = True
    thread.join(timeout=60)


@pytest.fixture
def keys(database: Database) -> dict[str, dict[str, str]]:
    """Authorization headers by name: `alice` and `bob` write in different teams, `reader` reads in Alice's."""
    people = {
        "alice": ("team-a", ["write"]),
        "reader": ("team-a", ["read"]),
        "bob": ("team-b", ["write"]),
        "admin": ("team-ops", ["admin"]),
    }
    made = {}
    for name, (owner, scopes) in people.items():
        key, _ = create_key(database, name=name, owner=owner, scopes=scopes)
        made[name] = {"Authorization": f"Bearer {key}"}
    return made


@pytest.fixture
def upload(gateway: httpx.Client, keys: dict[str, dict[str, str]]) -> Upload:
    """Upload files as Alice and return the image set."""

    def send(files: Mapping[str, bytes] | None = None, who: str = "alice", **params: str) -> dict:
        parts = [("file", (name, data)) for name, data in (files or small_set()).items()]
        response = gateway.post("/image-sets", files=parts, params=params, headers=keys[who])
        assert response.status_code == 201, response.text
        return response.json()

    return send
