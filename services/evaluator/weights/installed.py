"""Weights that others trained, kept as objects: which are known, how they are checked, installed and loaded.

The original file is verified by its published hash, turned into safetensors in a process of its own (`conversion`),
stored as a blob, and named by the pointer object `weights/<name>.json`, which is written last. Whoever loads weights
reads verified safetensors bytes; nothing is unpickled then.
"""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import httpx

from services.evaluator.weights.published import KNOWN, LibraryWeights, known_weights
from shared.errors import InvalidInput, ObjectNotFound, TooLarge, Unavailable, WeightsNotInstalled
from shared.objects import ObjectStore

CONVERSION_TIMEOUT_S = 180.0
"""A conversion takes a few seconds; most of it is importing the framework."""


class WeightsTruncated(InvalidInput):
    """The file is shorter than the published one."""


class WeightsHashWrong(InvalidInput):
    """The file is not the published one."""


class WeightsUnreadable(InvalidInput):
    """The file cannot be read as weights of this network."""


class WeightsSourceUnreachable(Unavailable):
    """The library's own source of its weights does not answer."""


def installed_record(objects: ObjectStore, name: str) -> dict[str, Any] | None:
    """What was written when `name` was installed (sha256, size, verified, source, installed_at), or None."""
    try:
        record: dict[str, Any] = json.loads(objects.get(_pointer_key(name)))
    except ObjectNotFound:
        return None
    return record


def require_record(objects: ObjectStore, name: str, otherwise: str = "") -> dict[str, Any]:
    """The record of installed weights.

    Args:
        objects: the object store.
        name: of the weights.
        otherwise: a sentence about what works without them, added to the error.

    Raises:
        WeightsNotInstalled: names the command that installs them.
    """
    record = installed_record(objects, name)
    if record is None:
        weights = known_weights(name)
        sentence = f"The {name} weights are not installed; run `{weights.command}`."
        raise WeightsNotInstalled(f"{sentence} {otherwise}".strip(), weights=name, command=weights.command)
    return record


def load_weights(objects: ObjectStore, name: str) -> bytes:
    """The safetensors bytes of installed weights, verified against their hash.

    `inception` holds torch-fidelity's parameter names; `vgg19` holds "<layer>/kernel" (3, 3, in, out) and
    "<layer>/bias" (out,), float32, for Keras' layer names.

    Raises:
        WeightsNotInstalled: names the command that installs them.
        ObjectDamaged: the stored bytes have another hash.
    """
    return objects.get_blob(require_record(objects, name)["sha256"])


def list_weights(objects: ObjectStore) -> list[dict[str, Any]]:
    """One entry per known file of weights, installed or not."""
    items = []
    for weights in KNOWN.values():
        record = installed_record(objects, weights.name) or {}
        items.append(
            {
                "name": weights.name,
                "installed": bool(record),
                "verified": record.get("verified"),
                "sha256": record.get("sha256"),
                "size": record.get("size"),
                "installed_at": record.get("installed_at"),
                "used_by": weights.used_by,
                "how": weights.command,
                "file_name": weights.file_name,
                "source": weights.url,
            }
        )
    return items


def install_weights(
    objects: ObjectStore, weights: LibraryWeights, data: bytes, *, source: str, allow_unverified: bool = False
) -> dict[str, Any]:
    """Verify, convert and store one file of weights; returns its record. Nothing is stored when a check fails.

    Args:
        objects: the object store.
        weights: what the file should be.
        data: the file as its library publishes it.
        source: where it came from, for the record.
        allow_unverified: store weights of the right structure although their hash is another one; recorded as
            `verified: false`.

    Raises:
        WeightsTruncated: shorter than the published file, with another hash.
        WeightsHashWrong: another hash.
        WeightsUnreadable: not a file of this network's weights.
    """
    verified = hashlib.new(weights.algorithm, data, usedforsecurity=False).hexdigest() == weights.digest
    if not verified and not allow_unverified:
        raise _mismatch(weights, data)
    converted = convert(weights.name, data)
    record = {
        "name": weights.name,
        "sha256": objects.put_blob(converted),
        "size": len(converted),
        "file_sha256": hashlib.sha256(data).hexdigest(),
        "verified": verified,
        "source": source,
        "installed_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    objects.put(_pointer_key(weights.name), json.dumps(record).encode())
    return record


def convert(name: str, data: bytes) -> bytes:
    """Safetensors bytes of a published file, converted in a child process, whose memory goes back when it ends.

    Raises:
        WeightsUnreadable: the file is not what its name says.
    """
    command = [sys.executable, "-m", "services.evaluator.weights.conversion", name]
    try:
        done = subprocess.run(  # noqa: S603 the arguments are fixed
            command, input=data, capture_output=True, timeout=CONVERSION_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsUnreadable(f"Reading the {name} file took over {CONVERSION_TIMEOUT_S:.0f} s.") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise WeightsUnreadable(f"The file cannot be read as {name} weights: {lines[-1][:300]}")
    return done.stdout


def download_weights(weights: LibraryWeights, *, timeout_s: float, max_bytes: int) -> bytes:
    """The published file, from the library's own source.

    Raises:
        WeightsSourceUnreachable: no network, or the source refuses.
        TooLarge: it sends more than `max_bytes`.
    """
    data = bytearray()
    try:
        with httpx.stream("GET", weights.url, follow_redirects=True, timeout=timeout_s) as response:
            response.raise_for_status()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > max_bytes:
                    raise TooLarge(f"{weights.url} sends more than {max_bytes} bytes; the download was given up.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise WeightsSourceUnreachable(
            f"{weights.url} cannot be downloaded from here ({type(error).__name__}). "
            "Fetch the file on a machine with a network, then run "
            f"`synthmri weights install {weights.name} --file {weights.file_name}`.",
            source=weights.url,
        ) from error
    return bytes(data)


def _pointer_key(name: str) -> str:
    return f"weights/{name}.json"


def _mismatch(weights: LibraryWeights, data: bytes) -> InvalidInput:
    expected = f"{weights.file_name} of {weights.size_bytes} bytes with {weights.algorithm} {weights.digest}"
    if len(data) < weights.size_bytes:
        return WeightsTruncated(f"The file ends after {len(data)} bytes; expected {expected}. Fetch it again.")
    return WeightsHashWrong(f"This file of {len(data)} bytes has another hash; expected {expected}.")
