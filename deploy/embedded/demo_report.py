"""What the demo leaves behind: a contact sheet, a loss curve, and a summary with what to think of them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from deploy.embedded.demo_data import PHANTOMS, DemoImages
from shared.client import SynthMRI

N_SHOWN = 8
LOSS_WINDOW = 9
# Seen: 20 epochs of 100 images (140 updates) gave noise in the shape of a head.
EPOCHS_TO_SEE_HEADS = 100


def write_report(
    platform: SynthMRI,
    stages: Sequence[tuple[str, str, float]],
    results: dict[str, Any],
    images: DemoImages,
    output: Path,
) -> None:
    """Write contact_sheet.png, loss_curve.png and summary.md to `output`."""
    output.mkdir(parents=True, exist_ok=True)
    draw_contact_sheet(
        read_row(platform, results["real"], split="Training"),
        read_row(platform, results["synthetic"]),
        "phantoms" if images.origin == PHANTOMS else "real",
    ).savefig(output / "contact_sheet.png", dpi=110)
    draw_loss_curve(results["losses"]).savefig(output / "loss_curve.png", dpi=110)
    (output / "summary.md").write_text(write_summary(stages, results, images.origin))


def read_row(platform: SynthMRI, image_set: str, split: str | None = None) -> list[NDArray[np.uint8]]:
    """The first gliomas of a set: each (H, W) uint8, gray levels 0..255, at the size in which they are stored."""
    filters = {"class": "glioma", **({"split": split} if split else {})}
    names = [image["name"] for _, image in zip(range(N_SHOWN), platform.images(image_set, **filters), strict=False)]
    pictures = [Image.open(io.BytesIO(platform.image(image_set, name))).convert("L") for name in names]
    return [np.asarray(picture) for picture in pictures]


def draw_contact_sheet(
    real: Sequence[NDArray[np.uint8]], synthetic: Sequence[NDArray[np.uint8]], title: str = "real"
) -> Figure:
    """Two labelled rows of the same width: real gliomas (or phantoms, as `title` says) above, generated ones below."""
    columns = max(len(real), len(synthetic))
    figure = Figure(figsize=(1.35 * columns, 3.3), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    for index, (label, row) in enumerate(((title, real), ("generated", synthetic))):
        for column in range(columns):
            axes = figure.add_subplot(2, columns, index * columns + column + 1)
            axes.set_axis_off()
            if column < len(row):
                axes.imshow(row[column], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            if column == 0:
                size_px = row[0].shape[0] if row else 0
                axes.set_title(f"{label}, {size_px} px", loc="left", fontsize=9)
    return figure


def draw_loss_curve(losses: Sequence[float]) -> Figure:
    """The mean squared error of the prediction by epoch, with its running median."""
    figure = Figure(figsize=(6, 3.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = np.arange(1, len(losses) + 1)
    axes.plot(epochs, losses, color="0.75", linewidth=1, label="each epoch")
    axes.plot(epochs, running_median(losses, LOSS_WINDOW), color="tab:blue", label=f"median of {LOSS_WINDOW}")
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("prediction error (MSE)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def running_median(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """(len(values),) float64: the median of each value and its neighbours, fewer of them at the ends."""
    half = window // 2
    return np.array([np.median(values[max(0, k - half) : k + half + 1]) for k in range(len(values))])


def write_summary(stages: Sequence[tuple[str, str, float]], results: dict[str, Any], origin: str) -> str:
    """The summary as Markdown: a table of the stages, and four sentences on how to read the pictures."""
    total_s = sum(seconds for _, _, seconds in stages)
    width = max(len(title) for title, _, _ in stages)
    rows = [f"| {title:<{width}} | {seconds:>7.1f} | {result} |" for title, result, seconds in stages]
    lines = [
        "# SynthMRI demo",
        "",
        f"Images: {origin}.",
        "",
        f"| {'stage':<{width}} | seconds | result |",
        f"| {'-' * width} | ------: | ------ |",
        *rows,
        f"| {'together':<{width}} | {total_s:>7.1f} | |",
        "",
        "Held-out images: " + ", ".join(_answer(entry) for entry in results["classified"]) + ".",
        "",
        "## What to look at, and how far to trust it",
        "",
        *(f"- {sentence}" for sentence in advice(results)),
    ]
    return "\n".join(lines) + "\n"


def advice(results: dict[str, Any]) -> list[str]:
    """Four sentences for whoever looks at the pictures for the first time."""
    train_s = f"{len(results['losses'])} epochs at 64 px"
    expected = (
        "the generated row is still mostly noise with the outline of a head, because this machine was slow or busy"
        if len(results["losses"]) < EPOCHS_TO_SEE_HEADS
        else "the generated row should show a skull with a brain inside it, blurred, and with too little variety"
    )
    metrics = {entry["metric"]: entry["value"] for entry in results["evaluation"]["metrics"]}
    space = results["evaluation"]["features"]["name"]
    return [
        f"contact_sheet.png: {expected}; {train_s} is a trial of minutes, not a model to use.",
        "loss_curve.png: a curve that falls and flattens says that training works, not that the images are good; "
        "the study trained 750 epochs of a network twenty times larger at 128 px.",
        f"FID {metrics['fid']:.3g} is measured on {N_SHOWN * 8} images in the features of `{space}`: compare it with "
        "the real-vs-real floor of the same report only, never with published values.",
        "The scenario has two seeds and a hundred test images, so a difference of a few points is noise; "
        "read the report's interval, run more seeds, and use these images for nothing but trying the platform out.",
    ]


def _answer(entry: dict[str, Any]) -> str:
    mark = "" if entry["truth"] == entry["answer"] else f" (truth: {entry['truth']})"
    return f"{entry['answer']} {entry['probability']:.0%}{mark}"
