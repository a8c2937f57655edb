"""Compare sets of synthetic MRIs in one run, with the same code and features: the measurements of docs/results.md.

    make up
    .venv/bin/python -m deploy.compare --data ../shared/data/brain-tumor-mri --set study=../shared/data/ddpm-study-2400

Each `--set NAME=FOLDER` holds images in a folder for each class; `--draw N` adds a set of N images of each class by the
default model, and `--model ID` by another one, at the size of the real images. `--reduced 128` adds the real Testing
images brought to 128 px and back as the platform enlarges what it draws: the best that a model of that size can do.
Real images are prepared by the study's recipe, so that its 1,024 Testing images are the test; scores in the features of
a classifier compare with those too, as it was trained on the others. Those of the reduced Testing images cannot, and
have rows of their own. Copies are looked for among the Training images of
the recipe `rigorous` as well, from which the shipped model learned. Writes results.json,
results.md, one contact sheet and one audit page for each set into `--target`; a set that is in results.json already is
not measured again, so that a run that was cut off goes on.
"""

import argparse
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from services.generator.images import decode_gray, encode_png, enlarge_image, shrink_image
from shared.client import SynthMRI
from shared.client_environment import ApiKeyNotFound, connect
from shared.tumour import CLASS_ORDER, Split

Json = dict[str, Any]
METRICS: Final = ("fid", "kid", "precision", "recall", "density", "coverage")
_SIZE_PX: Final = 256
"""Side of the images that the recipes prepare. Smaller ones would be enlarged as they are read, which blurs more."""
_SHEET: Final = 32
_RESULTS: Final = "results.json"


class Comparison:
    """What has been measured so far, kept in `target` after each set."""

    def __init__(self, client: SynthMRI, target: Path) -> None:
        self._client, self._target = client, target
        target.mkdir(parents=True, exist_ok=True)
        path = target / _RESULTS
        self.results: Json = json.loads(path.read_text()) if path.exists() else {"sets": {}}

    def prepare(self, data: Path) -> None:
        """Upload and prepare the real images, and train the classifier whose features are compared."""
        if "real" in self.results:
            return
        raw = self._client.upload(data, name="real")["id"]
        self.results["real"] = self._made(self._client.preprocess(raw, "study"), "image_set")
        self.results["rigorous"] = self._made(self._client.preprocess(raw, "rigorous"), "image_set")
        trained = self._client.train_classifier(self.results["real"], seed=0)
        self.results["classifier"] = self._made(trained, "model")
        self._save()

    def draw(self, n: int, folder: Path, **options: Any) -> None:
        """Draw `n` images of each class into `folder`; options are those of `SynthMRI.generate`.

        Each class has a seed of its own, as one seed gives every class the same heads.
        """
        for seed, each in enumerate(CLASS_ORDER):
            job = self._client.generate(each, n, seed=seed, size=_SIZE_PX, **options)
            for name, data in self._read_images(self._made(job, "image_set")):
                if name.startswith(f"{each}/"):
                    write_image(folder / name, data)

    def reduce(self, size_px: int, folder: Path) -> None:
        """Write the real Testing images, brought to `size_px` and enlarged again, into `folder`."""
        for name, data in self._read_images(self.results["real"], split=Split.TESTING):
            small = shrink_image(decode_gray(data), size_px, "area")
            path = folder / Path(name).relative_to(Split.TESTING).with_suffix(".png")
            write_image(path, encode_png(enlarge_image(small, _SIZE_PX)))

    def measure(
        self,
        name: str,
        folder: Path,
        features: list[str],
        checks: Sequence[str] | None = None,
        unseen: Split = Split.TESTING,
    ) -> None:
        """Upload, score and audit one set.

        Args:
            name: of the set.
            folder: its images.
            features: spaces in which it is scored.
            checks: those of the audit, all if left out.
            unseen: the real images that scores in the classifier's features compare with. It was trained on the
                Training images and holds those closer together, the more the longer it was trained, which can turn the
                order of two sets; other spaces compare with Training.
        """
        began = time.monotonic()
        synthetic = self._client.upload(folder, name=name)["id"]
        (self._target / f"{name}.png").write_bytes(self._client.grid(synthetic, n=_SHEET, px=128))
        measured: Json = {"image_set": synthetic, "scores": {}, "unseen": unseen}
        for space in features:
            fields: Json = {"features": space}
            if space == "classifier":
                fields |= {"model": self.results["classifier"], "split": unseen}
            report = self._made(self._client.evaluate(synthetic, self.results["real"], METRICS, **fields), "report")
            measured["scores"][space] = self._client.report(report)["report"]["metrics"]
        audit = self._made(self._client.audit(synthetic, self.results["real"], checks), "report")
        measured["audit"] = self._client.report(audit)["report"]
        if checks is None:
            copies = self._made(self._client.audit(synthetic, self.results["rigorous"], ["memorisation"]), "report")
            measured["copies_of_rigorous"] = self._client.report(copies)["report"]["classes"]
        (self._target / f"{name}-audit.html").write_bytes(self._client.report_as(audit, "html"))
        measured["seconds"] = round(time.monotonic() - began)
        self.results["sets"][name] = measured
        self._save()

    def _read_images(self, image_set: str, **filters: Any) -> Iterator[tuple[str, bytes]]:
        """Name and file of each image of a set, or of those with this class or split."""
        with tempfile.TemporaryDirectory() as workplace:
            archive = Path(workplace, "images.zip")
            self._client.download_archive(image_set, archive, **filters)
            with zipfile.ZipFile(archive) as opened:
                for name in opened.namelist():
                    yield name, opened.read(name)

    def _made(self, job: Json, noun: str) -> str:
        done = self._client.wait(job["id"])
        return next(str(artifact["id"]) for artifact in done["artifacts"] if artifact["noun"] == noun)

    def _save(self) -> None:
        (self._target / _RESULTS).write_text(json.dumps(self.results, indent=1))
        (self._target / "results.md").write_text(write_table(self.results["sets"]))


def write_image(path: Path, data: bytes) -> None:
    """Put `data` at `path`, in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_table(sets: Json) -> str:
    """The sets as a Markdown table, one column for each, and the real images where a score has its floor."""
    rows: dict[str, dict[str, str]] = {}
    for name, measured in sets.items():
        for space, entries in measured["scores"].items():
            for entry in entries:
                against = f", from {measured.get('unseen', Split.TRAINING)}" if space == "classifier" else ""
                row = rows.setdefault(f"{entry['label']}, {space}{against}", {})
                row[name] = _value(entry)
                if entry["real"]:
                    row["real"] = _value(entry["real"])
        for title, (value, real) in _audited(measured["audit"]).items():
            row = rows.setdefault(title, {})
            row[name] = value
            row.setdefault("real", real)
        for each, audited in measured.get("copies_of_rigorous", {}).items():
            row = rows.setdefault(f"copies of Training images of `rigorous`, {each}", {})
            row[name] = str(len(audited["memorisation"]["copies"]))
    columns = [*sets, "real"]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {title} | " + " | ".join(row.get(c, "") for c in columns) + " |" for title, row in rows.items()]
    return "\n".join(lines) + "\n"


def _value(entry: Json) -> str:
    interval = entry.get("interval") or {}
    ends = f" [{interval['low']:.3g}, {interval['high']:.3g}]" if "low" in interval else ""
    return f"{entry['value']:.3g}{ends}"


def _audited(audit: Json) -> dict[str, tuple[str, str]]:
    """Figures of an audit: (of the synthetic images, of real Testing images where there are such)."""
    rows: dict[str, tuple[str, str]] = {}
    usefulness = audit.get("usefulness")
    if usefulness:
        rows["usefulness (accuracy on real Testing images)"] = tuple(  # type: ignore[assignment]
            f"{side['accuracy']:.3f} [{side['interval'][0]:.3f}, {side['interval'][1]:.3f}]"
            for side in (usefulness["synthetic"], usefulness["real"])
        )
    for each, measured in audit["classes"].items():
        if "memorisation" in measured:
            copies, baseline = measured["memorisation"]["copies"], measured["memorisation"]["baseline"]
            title = f"copies of Training images, {each}"
            rows[title] = (str(len(copies)), str(baseline["n_above"]) if baseline else "")
        for cue in measured["shortcuts"]["cues"]:
            if cue["cue"] in ("sharpness", "brightness"):
                title = f"{cue['cue']}, median, {each} ({cue['unit']})"
                rows[title] = (f"{cue['synthetic']['median']:.4g}", f"{cue['reference']['median']:.4g}")
        detector = measured["shortcuts"]["detector"]
        rows[f"detector AUC, {each}"] = (f"{detector['auc']:.3f}", f"{detector['auc_of_baseline']:.3f}")
        coverage = measured["diversity"]["coverage"]
        rows[f"coverage, {each}"] = (f"{coverage['synthetic_of_as_many']:.2f}", f"{coverage['baseline']:.2f}")
    return rows


def main() -> None:
    """Read the command line; the platform is that of `connect`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the real images, Training and Testing")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=FOLDER", help="a synthetic set")
    parser.add_argument("--draw", type=int, default=0, metavar="N", help="images of each class to draw")
    parser.add_argument("--model", help="who draws; the default model if left out")
    parser.add_argument("--guidance", type=float, help="how strongly the class is followed; the model's if left out")
    parser.add_argument("--guidance-sigma-min", type=float, help="noise level down to which it acts; the model's")
    parser.add_argument("--guidance-sigma-max", type=float, help="noise level from which it acts; the model's")
    parser.add_argument("--steps", type=int, help="of the sampler; the model's if left out")
    parser.add_argument("--precision", help="arithmetic of the drawing; the model's if left out")
    parser.add_argument("--reduced", type=int, metavar="PX", help="add the real Testing images at this size")
    parser.add_argument("--name", default="ours", help="of the set that is drawn")
    parser.add_argument("--features", default="classifier,radiomics", help="feature spaces, comma between")
    parser.add_argument("--target", type=Path, default=Path("bench-output/compare"))
    arguments = parser.parse_args()
    try:
        connected = connect()
    except ApiKeyNotFound as error:
        sys.exit(error.detail)
    with connected as client, tempfile.TemporaryDirectory() as workplace:
        comparison = Comparison(client, arguments.target)
        comparison.prepare(arguments.data)
        folders = {name: Path(folder) for name, _, folder in (each.partition("=") for each in arguments.set)}
        if arguments.draw and arguments.name not in comparison.results["sets"]:
            drawing = ("model", "guidance", "guidance_sigma_min", "guidance_sigma_max", "steps", "precision")
            options = {name: getattr(arguments, name) for name in drawing}
            comparison.draw(arguments.draw, Path(workplace, "drawn"), **options)
            folders[arguments.name] = Path(workplace, "drawn")
        for name, folder in folders.items():
            if name not in comparison.results["sets"]:
                comparison.measure(name, folder, arguments.features.split(","))
        reduced = f"real at {arguments.reduced} px"
        if arguments.reduced and reduced not in comparison.results["sets"]:
            comparison.reduce(arguments.reduced, Path(workplace, "reduced"))
            # Copies, a training on the test images and their distance from themselves would say nothing.
            checks, spaces = ["shortcuts", "diversity"], arguments.features.split(",")
            comparison.measure(reduced, Path(workplace, "reduced"), spaces, checks, unseen=Split.TRAINING)
        sys.stdout.write((arguments.target / "results.md").read_text())


if __name__ == "__main__":
    main()
