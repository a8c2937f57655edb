"""Train a diffusion model and draw with it where no platform runs, such as a node of a cluster.

    .venv/bin/python -m deploy.offline pack SET --preset rigorous -o training.safetensors    # beside a running platform
    .venv/bin/python -m deploy.offline train training.safetensors -o trained/ --within 480   # on the node, minutes
    .venv/bin/python -m deploy.offline draw trained/ -n 600 -o drawn/                        # on the node, or anywhere
    .venv/bin/synthmri import-model trained/weights.safetensors                              # beside the platform

The node needs this folder, Python 3.11 or 3.12, and torch, MONAI, einops, diffusers, SciPy, pydantic, Pillow and
safetensors; no server, no queue, no object store. A training or drawing that was cut off goes on when the same command
is given again; on SIGTERM and ctrl-C it stores what it has.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from pydantic import TypeAdapter, ValidationError

from deploy.offline.files import BUNDLE, CARD, WEIGHTS
from services.generator.models.preset import MAX_EPOCHS, MAX_SEED, SAMPLER_NAMES
from shared.errors import InvalidInput, SynthMRIError
from shared.progress import Stopping
from shared.texts import Reason
from shared.tumour import TumourClass

_REPORT_EVERY_S: Final = 10.0


class _NotPacked(InvalidInput):
    """The platform did not give what the training needs."""


class _Printer:
    """A Progress that prints a line now and then, and stops when the process is told to."""

    def __init__(self) -> None:
        self._told, self._printed, self._facts = False, 0.0, ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Listen for signals."""
        self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        """Leave signals to whom they were left before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def update(self, done: int, total: int) -> None:
        """Print how far the work is, at most every few seconds and at its end."""
        now = time.monotonic()
        if now - self._printed >= _REPORT_EVERY_S or done == total:
            self._printed = now
            print(f"{done} of {total}{self._facts}", flush=True)

    def note(self, **facts: float | int | str) -> None:
        """Facts for the next line."""
        self._facts = "".join(f", {name} {value}" for name, value in facts.items())

    def raise_if_cancelled(self) -> None:
        """Raise Stopping after a signal."""
        if self._told:
            raise Stopping

    def _stop(self, *_: object) -> None:
        self._told = True


def _pack(options: argparse.Namespace) -> None:
    from deploy.offline.pack import pack_training
    from services.generator.train_jobs import TrainingWishes
    from shared.client_environment import connect
    from shared.client_transport import ApiProblem

    wishes = TrainingWishes(
        preset=options.preset,
        start_from=options.start_from,
        epochs=options.epochs,
        overrides=options.overrides,
        seed=options.seed,
        leakage_waiver=options.leakage_waiver,
    )
    tumour_class = TumourClass(options.tumour_class) if options.tumour_class else None
    try:
        with connect(patience_s=3) as client:
            parcel = pack_training(client, options.image_set, tumour_class, wishes)
    except ApiProblem as problem:
        raise _NotPacked(problem.detail) from problem
    data = parcel.to_bytes()
    options.output.write_bytes(data)
    print(f"{options.output}: {parcel.described['n_images']} images to train on, {len(data) / 1e6:.1f} MB")


def _train(options: argparse.Namespace) -> None:
    from deploy.offline.parcel import Parcel
    from deploy.offline.train import train_offline

    bundle = options.output / BUNDLE
    if (options.output / CARD).exists() and not bundle.exists():
        print(f"{options.output} holds a finished training; name another folder for another one.")
        return
    parcel = Parcel.from_bytes(options.parcel.read_bytes())
    if bundle.exists():
        print(f"Going on from {bundle}" + ("; --within counted when the training began." if options.within else "."))
    with _Printer() as printer:
        card = train_offline(
            parcel,
            options.output,
            printer,
            epochs=options.epochs,
            within_s=60 * options.within if options.within else None,
            compiled=options.compile,
            half=options.half,
        )
    print(json.dumps({name: value for name, value in card.items() if name != "curves"}, indent=1))


def _draw(options: argparse.Namespace) -> None:
    from deploy.offline.draw import ClassNotSaid, draw_offline
    from services.generator.sampling.recipe import SamplingWishes

    path = options.model / CARD
    card = json.loads(path.read_text()) if path.exists() else {}
    tumour_class = options.tumour_class or card.get("class")
    if card.get("class") not in (None, tumour_class):
        raise ClassNotSaid(f"The weights in {options.model} draw {card['class']}; leave --class out.")
    interval = ("guidance_sigma_min", "guidance_sigma_max")
    fields = ("sampler", "steps", "seed", "size", "batch_size", "precision", "guidance", *interval, "output")
    with _Printer() as printer:
        facts = draw_offline(
            (options.model / WEIGHTS).read_bytes(),
            options.n,
            options.target,
            SamplingWishes(**{name: getattr(options, name) for name in fields}),
            printer,
            tumour_class=TumourClass(tumour_class) if tumour_class else None,
            trained_precision=card.get("precision"),
        )
    print(json.dumps(facts, indent=1))


def _at_least(
    least: float, kind: type[int] | type[float] = int, *, most: float = float("inf")
) -> Callable[[str], float]:
    """A reader of numbers from `least` to `most`, for argparse, which makes a sentence of its error."""

    def read(text: str) -> float:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        if value > most:
            raise argparse.ArgumentTypeError(f"{text} is above {most}")
        return value

    read.__name__ = kind.__name__  # argparse calls what is no number an "invalid int value"
    return read


def _reason(text: str) -> str:
    """A reason as the API takes it."""
    try:
        return TypeAdapter(Reason).validate_python(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError("give 3 to 500 printable characters") from error


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text)  # argparse makes a sentence of a ValueError.
    if not isinstance(value, dict):
        raise ValueError
    return value


def _read_options(arguments: list[str]) -> argparse.Namespace:
    formatter: Any = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m deploy.offline", description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(required=True)
    pack = commands.add_parser("pack", help="fetch a set from the running platform, with all that its training needs")
    pack.add_argument("image_set", help="id of a preprocessed set")
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    pack.add_argument("--class", dest="tumour_class", choices=[*TumourClass], help="left out: all, in one network")
    pack.add_argument("--preset", help="as for POST /models/diffusion")
    pack.add_argument("--start-from", metavar="MODEL", help="begin with the weights of this model")
    pack.add_argument("--epochs", type=_at_least(1))
    pack.add_argument("--overrides", type=_json_object, default={}, metavar="JSON", help="preset's fields that differ")
    pack.add_argument(
        "--leakage-waiver", type=_reason, metavar="REASON", help="why a set whose test images leak is trained on"
    )
    pack.add_argument("--seed", type=_at_least(0, most=MAX_SEED), default=0)
    pack.set_defaults(work=_pack)
    train = commands.add_parser("train", help="train what a packed file holds, or go on with it")
    train.add_argument("parcel", type=Path, help="what `pack` wrote")
    train.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    length = train.add_mutually_exclusive_group()
    length.add_argument(
        "--within", type=_at_least(0, float), metavar="MINUTES", help="as many epochs as this allows, by a trial"
    )
    length.add_argument(
        "--epochs",
        type=_at_least(1, most=MAX_EPOCHS),
        help="in place of those packed; a training that was stopped takes others until its step size falls",
    )
    train.add_argument("--compile", action="store_true", help="run updates through torch.compile")
    train.add_argument("--half", action="store_true", help="write the weights in float16")
    train.set_defaults(work=_train)
    draw = commands.add_parser("draw", help="draw images, without those that are there")
    draw.add_argument("model", type=Path, help="folder that `train` wrote, or services/generator/shipped")
    draw.add_argument("-o", "--output", dest="target", type=Path, required=True, metavar="FOLDER")
    draw.add_argument("-n", type=_at_least(1), default=8, help="images of each class")
    draw.add_argument(
        "--class", dest="tumour_class", choices=[*TumourClass], help="left out: all that the weights know"
    )
    draw.add_argument("--sampler", choices=SAMPLER_NAMES)
    draw.add_argument("--steps", type=_at_least(1))
    draw.add_argument(
        "--seed", type=_at_least(0, most=MAX_SEED), default=0, help="of the first class; the others count on from it"
    )
    draw.add_argument("--size", type=_at_least(8))
    draw.add_argument("--batch-size", type=_at_least(1))
    draw.add_argument("--precision", choices=("float32", "bfloat16"))
    draw.add_argument("--guidance", type=_at_least(1, float))
    draw.add_argument("--guidance-sigma-min", type=_at_least(0, float), help="guide only above this noise level")
    draw.add_argument("--guidance-sigma-max", type=_at_least(0, float), help="guide only up to this noise level")
    draw.add_argument("--as", dest="output", choices=("png", "study"), help="study: the published images' format")
    draw.set_defaults(work=_draw)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Do what the command line says; 0 when it is done, 1 on a refusal, 3 when stopped with more to do."""
    options = _read_options(arguments)
    try:
        options.work(options)
    except (SynthMRIError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Stopping:
        print("Stopped; the same command goes on from here.")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
