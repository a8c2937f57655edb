"""Image sets, and a client of the api, for tests of the evaluator's edges."""

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray
from PIL import Image

from deploy.embedded.phantoms import draw_phantom
from shared.artifacts.store import ArtifactStore, DraftArtifact
from shared.objects import ObjectStore
from shared.tumour import Plane, TumourClass
from tests.support.servers import free_port, port_answers, wait_until

OWNER = "team-a"


@contextmanager
def served_api() -> Iterator[httpx.Client]:
    """A client of the evaluator's api, served on loopback as the platform serves it."""
    from services.evaluator.api import app  # reads the settings when it is imported

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: port_answers(port))
    headers = {"X-Internal-Token": "tests-internal-token", "X-SynthMRI-Owner": OWNER}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120.0) as client:
        yield client
    server.should_exit = True
    thread.join()


@cache
def phantoms_u8(tumour_class: str, n: int, seed: int, side_px: int = 64) -> NDArray[np.uint8]:
    """(n, side, side) uint8: brain phantoms in turn axial, coronal and sagittal, all different."""
    drawn = []
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        image = draw_phantom(TumourClass(tumour_class), rng, list(Plane)[index % 3])
        drawn.append(np.asarray(Image.fromarray(image).resize((side_px, side_px), Image.Resampling.BOX)))
    images_u8 = np.stack(drawn)
    images_u8.setflags(write=False)  # the next caller gets the same array
    return images_u8


def encode(image_u8: NDArray[np.uint8], file_format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(image_u8).save(out, file_format)
    return out.getvalue()


def store_set(
    artifacts: ArtifactStore,
    objects: ObjectStore,
    kind: str,
    groups: Mapping[str, NDArray[np.uint8]],
    *,
    parents: list[str] | None = None,
    **body: Any,
) -> str:
    """An image set from "<split>/<class>" or "<class>" to images (n, h, w) uint8; the planes go round."""
    images: list[dict[str, Any]] = []
    for path, pixels in groups.items():
        split, _, tumour_class = path.rpartition("/")
        for i, image in enumerate(pixels):
            entry = {"name": f"{path}/{i}.png", "class": tumour_class, "split": split or None}
            entry |= {"plane": str(list(Plane)[i % 3]), "source": None, "parameters": {}}
            sizes = {"width": image.shape[1], "height": image.shape[0]}
            images.append({**entry, **sizes, "sha256": objects.put_blob(encode(image))})
    summary = {"n_images": len(images)}
    draft = DraftArtifact("image_set", kind, kind, {"images": images, **body}, summary, parents=parents or [])
    return artifacts.create(draft, owner=OWNER).id
