"""Measure the study's loop and the platform's on an NVIDIA GPU: `make bench-gpu`, nine minutes at most on an H100.

    make bench-gpu ARGS="--images folder --minutes 8"
    .venv/bin/python -m tests.bench.gpu --device cpu --tiny   # does the program work? a few seconds

Writes gpu.md and gpu.json into bench-output/. Rows are printed as they are measured.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from services.generator.images import MIN_IMAGES
from tests.bench.gpu.images import make_up_images, read_images, write_jpegs
from tests.bench.gpu.machine import Clock, describe_machine
from tests.bench.gpu.report import write_data, write_page
from tests.bench.gpu.runs import Run
from tests.bench.gpu.scale import FULL, TINY

SOURCE_PX = 256  # side of the preprocessed images
NO_GPU = (
    "There is no CUDA device here, and the figures are about one. Run `make bench-gpu` on a machine with an NVIDIA GPU "
    "whose driver `nvidia-smi` finds; `python -m tests.bench.gpu --device cpu --tiny` shows that the program works."
)


def main(arguments: list[str]) -> int:
    """Measure, print and write; 0 if everything that was tried could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny networks and few steps, to try the program")
    parser.add_argument("--images", type=Path, help="folder of gray PNGs or JPEGs to train on; made up if not given")
    parser.add_argument("--minutes", type=float, default=9.0, help="what is not begun by then is left out")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="try torch.compile; on a GPU it is")
    parser.add_argument("--target", type=Path, default=Path("bench-output"))
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(2, NO_GPU + "\n")
    if options.device == "cpu" and not options.tiny:
        parser.exit(2, "On a CPU the whole measurement would take days; add --tiny to try the program.\n")
    began, clock = time.monotonic(), Clock(options.minutes)
    scale, device = TINY if options.tiny else FULL, torch.device(options.device)
    images = read_images(options.images) if options.images else make_up_images(scale.n_made_up, SOURCE_PX)
    if len(images) < MIN_IMAGES:
        parser.exit(2, f"{options.images} holds {len(images)} PNGs and JPEGs; {MIN_IMAGES} are the least.\n")
    run = Run(scale, clock, device, images)
    with tempfile.TemporaryDirectory() as folder:
        jpegs = write_jpegs(images, scale.preset("study").size_px, Path(folder))
        compiling = device.type == "cuda" if options.compile is None else options.compile
        results = run.measure(jpegs, compiling=compiling)
    facts = {
        "machine": describe_machine(device),
        "command": " ".join(["python -m tests.bench.gpu", *arguments]),
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "seconds": time.monotonic() - began,
        "images": f"{len(images)} images, {f'of {options.images.name}' if options.images else 'made up'}.",
        "trial": options.tiny,
    }
    options.target.mkdir(parents=True, exist_ok=True)
    page = write_page(results, facts)
    (options.target / "gpu.md").write_text(page)
    (options.target / "gpu.json").write_text(json.dumps(write_data(results, facts), indent=2) + "\n")
    print("\n" + page)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
