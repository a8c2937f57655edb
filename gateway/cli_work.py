"""Commands that start work; each waits with a progress bar unless told not to."""

import base64
import csv
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli_output import connected, follow, show
from shared.client import SynthMRI

Wait = Annotated[bool, typer.Option(help="Wait for the end, with a progress bar.")]
Fields = Annotated[
    list[str] | None,
    typer.Option("--field", "-f", help="Any other field of the request, as name=value; the value may be JSON."),
]
ClassName = Annotated[str, typer.Option("--class", help="glioma, meningioma, notumor or pituitary.")]

LeakageWaiver = Annotated[
    str | None, typer.Option(help="Your reason for using a set whose test images are known to occur in Training.")
]


def add_commands(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (preprocess, train_diffusion, generate, train_classifier, scenario, classify):
        app.command()(command)


def preprocess(
    ctx: typer.Context,
    image_set: str,
    recipe: Annotated[str | None, typer.Option(help="rigorous (the default), study, or an object as JSON.")] = None,
    selection: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="CSV of exactly these images: image (or image_id), and rotation_deg if turned.",
        ),
    ] = None,
    replay: Annotated[str | None, typer.Option(help="Repeat what made this preprocessed set.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave this image out; repeat for several.")] = None,
    relabel: Annotated[list[str] | None, typer.Option(help="image=class, where the folder is wrong.")] = None,
    field: Fields = None,
    wait: Wait = True,
) -> None:
    """Make square gray images of one size from a raw set."""
    fields: dict[str, Any] = {
        "selection": _read_selection(selection) if selection else None,
        "replay": replay,
        "exclude": exclude or [],
        "relabel": {image: tumour_class for image, _, tumour_class in (word.rpartition("=") for word in relabel or [])},
        **read_fields(field),
    }
    chosen = _read_json(recipe, "The recipe") if recipe and recipe.startswith("{") else recipe
    with connected(ctx) as platform:
        finish(platform, platform.preprocess(image_set, chosen, **fields), wait=wait)


def _read_json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{what} is not JSON: {error}.") from error


def _read_selection(path: Path) -> list[dict[str, Any]]:
    """The rows of a selection: images by name or by file name without ending, with the angle of each, degrees."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    name = next((column for column in ("image", "image_id", "name") if rows and column in rows[0]), None)
    if name is None:
        raise typer.BadParameter(f"{path} needs a header with `image` (or `image_id`), and at least one row.")
    try:
        return [{"image": row[name], "rotation_deg": int(row.get("rotation_deg") or 0)} for row in rows]
    except ValueError as error:
        raise typer.BadParameter(f"{path} has a rotation_deg that is no whole number of degrees: {error}.") from error


def train_diffusion(
    ctx: typer.Context,
    image_set: str,
    tumour_class: Annotated[
        str | None, typer.Option("--class", help="What it learns to draw; left out for one model of all classes.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="study, rigorous, compact, tiny (default) or tiny-32.")] = None,
    start_from: Annotated[
        str | None, typer.Option(help="Diffusion model whose weights it begins with; its preset, if none is named.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    leakage_waiver: LeakageWaiver = None,
    field: Fields = None,
    wait: Wait = True,
) -> None:
    """Train a diffusion model on one class of a preprocessed set, or on all its classes."""
    fields = {
        "preset": preset,
        "start_from": start_from,
        "epochs": epochs,
        "leakage_waiver": leakage_waiver,
        **read_fields(field),
    }
    with connected(ctx) as platform:
        finish(platform, platform.train_diffusion(image_set, tumour_class, **fields), wait=wait)


def generate(
    ctx: typer.Context,
    tumour_class: ClassName,
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")],
    model: Annotated[
        str | None, typer.Option(help="Diffusion model; default: your newest of the class, else the shipped one.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="dpm++, unipc, ddim or ddpm.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    quality: Annotated[str | None, typer.Option(help="fast, balanced or study, in place of sampler and steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same images.")] = None,
    field: Fields = None,
    wait: Wait = True,
) -> None:
    """Draw synthetic images."""
    options = {"model": model, "sampler": sampler, "steps": steps, "quality": quality, "seed": seed}
    with connected(ctx) as platform:
        finish(platform, platform.generate(tumour_class, n, **{**options, **read_fields(field)}), wait=wait)


def train_classifier(
    ctx: typer.Context,
    train: Annotated[str, typer.Argument(help="An image set, or a mix as JSON.")],
    test: Annotated[str | None, typer.Option(help="Real image set to test on.")] = None,
    preset: Annotated[str | None, typer.Option(help="study, vgg19 or vgg19-compact.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    leakage_waiver: LeakageWaiver = None,
    field: Fields = None,
    wait: Wait = True,
) -> None:
    """Train a tumour classifier."""
    mix = _read_json(train, "The mix") if train.startswith("{") else train
    fields = {"preset": preset, "epochs": epochs, "leakage_waiver": leakage_waiver, **read_fields(field)}
    with connected(ctx) as platform:
        finish(platform, platform.train_classifier(mix, test, **fields), wait=wait)


def scenario(
    ctx: typer.Context,
    real: str,
    synthetic: Annotated[list[str] | None, typer.Option(help="Synthetic image set; repeat for several.")] = None,
    preset_scenario: Annotated[
        str | None, typer.Option("--scenario", help="1 to 6, mini-real, mini-mixed or all.")
    ] = None,
    compositions: Annotated[Path | None, typer.Option(exists=True, help="JSON file with compositions.")] = None,
    leakage_waiver: LeakageWaiver = None,
    field: Fields = None,
    wait: Wait = True,
) -> None:
    """Train classifiers on mixes of real and synthetic images and compare them on real ones."""
    fields = {"leakage_waiver": leakage_waiver, **read_fields(field)}
    if compositions:
        fields["compositions"] = _read_json(compositions.read_text(encoding="utf-8"), str(compositions))
    with connected(ctx) as platform:
        job = platform.run_scenario(real, synthetic or [], scenario=preset_scenario, **fields)
        finish(platform, job, wait=wait)


def classify(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="One MRI slice.")],
    model: Annotated[str | None, typer.Option(help="Classifier; default: your newest one.")] = None,
    explain: Annotated[Path | None, typer.Option(help="Write the heat map to this PNG.")] = None,
) -> None:
    """Say which tumour class one MRI slice shows. For research only."""
    with connected(ctx) as platform:
        answer = platform.classify(file, model=model, explain=explain is not None)
    for name, value in list(answer.items()):
        if explain is not None and isinstance(value, str) and name.startswith("heat_map"):
            explain.write_bytes(base64.b64decode(value.rpartition(",")[2]))
            answer[name] = str(explain)
    show(answer)


def finish(platform: SynthMRI, job: dict[str, Any], *, wait: bool) -> None:
    """Show the job, at its end if that is waited for."""
    show(follow(platform, job) if wait else job)


def read_fields(fields: list[str] | None) -> dict[str, Any]:
    """`epochs=3` as {"epochs": 3}; what is not JSON is text."""
    read: dict[str, Any] = {}
    for field in fields or []:
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{field!r} is not name=value.")
        try:
            read[name] = json.loads(value)
        except ValueError:
            read[name] = value
    return read
