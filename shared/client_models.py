"""The calls of the API that are about models and library weights."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.client_transport import UPLOAD_S, Json, Report, Transport, json_of


class ModelCalls:
    """The part of `shared.client.SynthMRI` that is about models and library weights."""

    _transport: Transport

    def models(self, **filters: Any) -> Json:
        """One page of models; filters are kind, class, cursor and limit."""
        return json_of(self._transport.get("/models", **filters))

    def model(self, model: str) -> Json:
        """One model card."""
        return json_of(self._transport.get(f"/models/{model}"))

    def import_model(
        self, file: Path, preset: str | None = None, *, report: Report | None = None, **fields: Any
    ) -> Json:
        """The job that makes a model of a safetensors file; fields are class, config (a dict) and name.

        Args:
            file: the weights.
            preset: whose network it is; None: what the file says.
            report: told of the bytes sent.
            fields: as above.
        """
        if fields.get("config") is not None:
            fields["config"] = json.dumps(fields["config"])
        params = {"preset": preset, **fields}
        return json_of(self._transport.send_files("/models/import", {file.name: file}, params, report, UPLOAD_S))

    def export_model(self, model: str, target: Path, *, report: Report | None = None) -> int:
        """Write a diffusion model as a zip for MONAI alone to `target`; return its size in bytes."""
        return self._transport.download(f"/models/{model}/export", target, {}, report)

    def keep_training(self, job: str, *, name: str | None = None) -> Json:
        """The job that makes a model of the last checkpoint of a cancelled or failed training."""
        return json_of(self._transport.post("/models/diffusion/keep", {"job": job, "name": name}))

    def calibrate(self, model: str, **fields: Any) -> Json:
        """The job that measures samplers and steps on this model; fields are n, seed, max_seconds and settings."""
        return json_of(self._transport.post(f"/models/{model}/calibrate", fields))

    def regenerate(self, image_set: str, images: Sequence[str]) -> Json:
        """The job that draws these images of a generated set again and compares them by their hashes."""
        return json_of(self._transport.post(f"/image-sets/{image_set}/regenerate", {"images": list(images)}))

    def weights(self) -> Json:
        """The library weights that the platform can use, and which are installed."""
        return json_of(self._transport.get("/weights"))

    def install_weights(self, name: str, file: Path | None = None, *, report: Report | None = None) -> Json:
        """Install library weights from a file, or without one from the library's own source."""
        path = f"/weights/{name}"
        if file is None:
            return json_of(self._transport.post(path, timeout_s=UPLOAD_S))
        return json_of(self._transport.send_files(path, {file.name: file}, {}, report, UPLOAD_S))
