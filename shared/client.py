"""The platform from Python: every call of the API by name.

    with SynthMRI("http://127.0.0.1:8000", api_key) as platform:
        scans = platform.upload(Path("brain-tumor-mri"))
        job = platform.wait(platform.preprocess(scans["id"])["id"])

A call returns the JSON of its answer, or raises `ApiProblem`.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from shared.client_models import ModelCalls
from shared.client_transport import UPLOAD_S, ApiProblem, Json, Report, Transport, files_of, json_of, unreachable

__all__ = ["ApiProblem", "JobUnsuccessful", "SynthMRI"]

_FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
_SILENCE_S: Final = 40.0
"""The gateway sends a comment every 15 s, so a longer silence means that the connection is lost."""


class JobUnsuccessful(Exception):
    """A job that was waited for failed or was cancelled; `job` has the reason."""

    def __init__(self, job: Json) -> None:
        error = job.get("error") or {"code": job["status"], "detail": f"The job was {job['status']}."}
        super().__init__(f"{error['detail']} ({error['code']}, {job['id']})")
        self.job = job
        self.code = str(error["code"])
        self.detail = str(error["detail"])


class SynthMRI(ModelCalls):
    """One platform, seen with one API key.

    Args:
        base_url: the gateway's address.
        api_key: a key that `synthmri keys create` printed.
        timeout_s: how long one answer may take to begin.
        patience_s: how long to go on trying while the gateway is away.
    """

    def __init__(
        self, base_url: str, api_key: str | None = None, *, timeout_s: float = 150.0, patience_s: float = 30.0
    ) -> None:
        self._transport = Transport(base_url, api_key, timeout_s, patience_s)
        self._patience_s = patience_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # Image sets

    def upload(
        self,
        source: Path | Mapping[str, Path],
        *,
        name: str | None = None,
        skip_invalid: bool = False,
        axis: str | None = None,
        slices: str | int | None = None,
        report: Report | None = None,
    ) -> Json:
        """Upload a zip, a folder, or files by their name in the set, such as `Training/glioma/1.jpg`.

        Of NIfTI volumes, `slices` along `axis` are taken: `middle` (the default), `all`, or an index.
        """
        files = source if isinstance(source, Mapping) else files_of(source)
        if name is None:
            name = source.stem if isinstance(source, Path) else "upload"
        params = {"name": name, "skip_invalid": skip_invalid or None, "axis": axis, "slices": slices}
        return json_of(self._transport.send_files("/image-sets", files, params, report, UPLOAD_S))

    def image_sets(self, **filters: Any) -> Json:
        """One page of image sets; filters are kind, class, cursor and limit."""
        return json_of(self._transport.get("/image-sets", **filters))

    def image_set(self, image_set: str) -> Json:
        """One image set."""
        return json_of(self._transport.get(f"/image-sets/{image_set}"))

    def images(self, image_set: str, **filters: Any) -> Iterator[Json]:
        """All images of a set, page by page; filters are class, split and plane."""
        return self._all(f"/image-sets/{image_set}/images", {"limit": 500, **filters})

    def image(self, image_set: str, name: str, px: int | None = None) -> bytes:
        """One image as PNG."""
        return self._transport.get(f"/image-sets/{image_set}/images/{quote(name)}", px=px).content

    def correct_image(self, image_set: str, name: str, **members: str | None) -> Json:
        """One image with its `plane` or `group` corrected; None takes a correction back."""
        return json_of(self._transport.put(f"/image-sets/{image_set}/images/{quote(name)}", members))

    def correct_images(self, image_set: str, corrections: bytes | Sequence[Json]) -> Json:
        """Correct many images at once, from a CSV or from `{name, plane, group}` each; returns how many changed."""
        path = f"/image-sets/{image_set}/annotations"
        if isinstance(corrections, bytes):
            return json_of(self._transport.put(path, csv=corrections))
        return json_of(self._transport.put(path, {"items": list(corrections)}))

    def annotations(self, image_set: str) -> Iterator[Json]:
        """All corrections of a set's images, page by page."""
        return self._all(f"/image-sets/{image_set}/annotations", {"limit": 500})

    def grid(self, image_set: str, **options: Any) -> bytes:
        """A contact sheet as PNG; options are class, split, plane, n and px."""
        return self._transport.get(f"/image-sets/{image_set}/grid.png", **options).content

    def download_archive(self, image_set: str, target: Path, *, report: Report | None = None, **filters: Any) -> int:
        """Write the zip of a set to `target`; return its size in bytes."""
        return self._transport.download(f"/image-sets/{image_set}/archive", target, filters, report)

    # Work. Each of these returns the job.

    def preprocess(self, image_set: str, recipe: str | Json | None = None, **fields: Any) -> Json:
        """Make square gray images of one size; fields are selection, replay, exclude, relabel, name and others."""
        return self._start("/preprocess", {"image_set": image_set, "recipe": recipe, **fields})

    def train_diffusion(self, image_set: str, tumour_class: str | None = None, **fields: Any) -> Json:
        """Train a diffusion model of one class, or of all of the set; fields are preset, start_from and others."""
        return self._start("/models/diffusion", {"image_set": image_set, "class": tumour_class, **fields})

    def generate(self, tumour_class: str, n: int, **options: Any) -> Json:
        """Draw `n` synthetic images; options are model, sampler, steps, seed and size."""
        return json_of(self._transport.post("/generate", params={"class": tumour_class, "n": n, **options}))

    def evaluate(self, synthetic: str, real: str, metrics: Sequence[str] | None = None, **fields: Any) -> Json:
        """Measure how far a synthetic set is from a real one."""
        wanted = list(metrics) if metrics else None
        return self._start("/evaluate", {"synthetic": synthetic, "real": real, "metrics": wanted, **fields})

    def audit(self, synthetic: str, real: str, checks: Sequence[str] | None = None, **fields: Any) -> Json:
        """Find copies of real images, shortcuts and gaps in a synthetic set; fields are class, split, seed, name."""
        wanted = list(checks) if checks else None
        return self._start("/audit", {"synthetic": synthetic, "real": real, "checks": wanted, **fields})

    def exclude(self, image_set: str, report: str | None = None, images: Sequence[str] = (), **fields: Any) -> Json:
        """Make a set without the copies that an audit `report` names, or without these `images`; a field is name."""
        wanted = list(images) or None
        return self._start(f"/image-sets/{image_set}/exclude", {"report": report, "images": wanted, **fields})

    def train_classifier(self, train: Any, test: Any = None, **fields: Any) -> Json:
        """Train a tumour classifier on an image set or a mix of sets."""
        return self._start("/models/classifier", {"train": train, "test": test, **fields})

    def run_scenario(
        self, real: str, synthetic: Sequence[str] = (), *, scenario: str | None = None, **fields: Any
    ) -> Json:
        """Train classifiers on mixes of real and synthetic images and test all on the same real ones."""
        return self._start("/scenarios", {"real": real, "synthetic": list(synthetic), "scenario": scenario, **fields})

    def classify(self, file: Path, *, model: str | None = None, explain: bool = False) -> Json:
        """The tumour class of one MRI slice."""
        params = {"model": model, "explain": explain or None}
        return json_of(self._transport.send_files("/classify", {file.name: file}, params, None, UPLOAD_S))

    # Jobs

    def jobs(self, **filters: Any) -> Json:
        """One page of jobs; filters are status, kind, cursor and limit."""
        return json_of(self._transport.get("/jobs", **filters))

    def job(self, job: str) -> Json:
        """One job."""
        return json_of(self._transport.get(f"/jobs/{job}"))

    def cancel(self, job: str) -> Json:
        """Cancel an open job."""
        return json_of(self._transport.post(f"/jobs/{job}/cancel"))

    def retry(self, job: str) -> Json:
        """Start a failed or cancelled job again, as a new one."""
        return json_of(self._transport.post(f"/jobs/{job}/retry"))

    def job_file(self, job: str, name: str) -> bytes:
        """One of the `files` that a job shows while it runs and afterwards."""
        return self._transport.get(f"/jobs/{job}/files/{quote(name)}").content

    def events(self, job: str) -> Iterator[tuple[str, Json]]:
        """The events of a job until it ends: (`progress` or `done`, the job). Reconnects after a lost connection."""
        failing_since: float | None = None
        while True:
            try:
                for event, data in self._transport.events(f"/jobs/{job}/events", _SILENCE_S):
                    failing_since = None
                    yield event, data
                    if event == "done":
                        return
            except httpx.TransportError as error:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > self._patience_s:
                    raise unreachable(error) from error
            except ApiProblem as problem:
                failing_since = failing_since or time.monotonic()
                if problem.status < 500 or time.monotonic() - failing_since > self._patience_s:
                    raise
            time.sleep(0.5)

    def wait(self, job: str, on_progress: Callable[[Json], None] | None = None) -> Json:
        """The job once it has succeeded, however often the connection is lost meanwhile.

        Raises:
            JobUnsuccessful: it failed or was cancelled.
        """
        for _, state in self.events(job):
            if on_progress:
                on_progress(state)
            if state["status"] in _FINAL:
                if state["status"] != "succeeded":
                    raise JobUnsuccessful(state)
                return state
        raise ApiProblem(0, "unreachable", "The platform ended the stream of events before the job ended.")

    # Reports, health

    def reports(self, **filters: Any) -> Json:
        """One page of reports; filters are kind, cursor and limit."""
        return json_of(self._transport.get("/reports", **filters))

    def report(self, report: str) -> Json:
        """One report as JSON."""
        return json_of(self._transport.get(f"/reports/{report}", format="json"))

    def report_as(self, report: str, report_format: str) -> bytes:
        """One report as csv, html or png."""
        return self._transport.get(f"/reports/{report}", format=report_format).content

    def report_file(self, report: str, name: str) -> bytes:
        """One file of a report."""
        return self._transport.get(f"/reports/{report}/files/{name}").content

    def health(self) -> Json:
        """What is up and what is down; answers also when something is down."""
        return self._transport.readiness()

    def _start(self, path: str, body: Json) -> Json:
        return json_of(self._transport.post(path, body))

    def _all(self, path: str, params: Json) -> Iterator[Json]:
        while True:
            page = json_of(self._transport.get(path, **params))
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            params = {**params, "cursor": page["next_cursor"]}
