"""The real embedded platform, started by its command line, for tests that drive it over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded.phantoms import write_phantoms
from shared.client import SynthMRI
from tests.e2e.embedded_platform import EmbeddedPlatform, made, make_platform, remove_platform


@pytest.fixture(scope="session")
def platform() -> Iterator[EmbeddedPlatform]:
    """The platform that all end-to-end tests share; it runs when a test begins, and a test leaves it running.

    Fast leases and checkpoints, so that a test that kills a worker need not wait for a minute.
    """
    started = make_platform(
        SYNTHMRI_LEASE_S="6",
        SYNTHMRI_HEARTBEAT_S="1",
        SYNTHMRI_SWEEP_S="1",
        SYNTHMRI_RATE_LIMIT_PER_MINUTE="0",
        SYNTHMRI_CHECKPOINT_EVERY_S="2",
    )
    try:
        started.up()
        yield started
    finally:
        remove_platform(started)


@pytest.fixture(scope="session")
def client(platform: EmbeddedPlatform) -> Iterator[SynthMRI]:
    """The shared platform seen with its first API key."""
    with platform.client() as opened:
        yield opened


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of brain phantoms: 24 Training and 8 Testing images of each class."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, n_training=24, n_testing=8, seed=1)
    return folder


@pytest.fixture(scope="session")
def prepared(client: SynthMRI, phantoms: Path) -> str:
    """The id of the phantoms' preprocessed set on the shared platform."""
    raw = client.upload(phantoms, name="phantoms")
    return made(client.wait(client.preprocess(raw["id"])["id"]), "image_set")


@pytest.fixture(scope="session")
def glioma_model(client: SynthMRI, prepared: str) -> str:
    """The id of a barely trained diffusion model: what it draws is noise, but it draws it the same every time."""
    return made(client.wait(client.train_diffusion(prepared, "glioma", preset="tiny-32", epochs=2)["id"]), "model")


@pytest.fixture(scope="session")
def classifier(client: SynthMRI, prepared: str) -> str:
    """The id of a barely trained classifier of the same set."""
    return made(client.wait(client.train_classifier(prepared, epochs=2, size=32)["id"]), "model")
