"""Which images the demo works on: a fixed choice from the user's folder, or phantoms drawn for the purpose."""

import random
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.console import CannotStart
from deploy.embedded.phantoms import write_phantoms
from shared.tumour import CLASS_ORDER, Split, TumourClass

N_TRAINING = 100
N_TESTING = 25
N_HELD_OUT = 2
ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
PHANTOMS = "brain phantoms drawn for this demo"
LAYOUT = "<folder>/Training/<class>/<file> and <folder>/Testing/<class>/<file>"


@dataclass(frozen=True)
class DemoImages:
    """What is uploaded, by its name in the image set, and what no step but the last ever sees.

    Attributes:
        held_out: (true class, file), taken from Testing.
    """

    origin: str
    uploaded: dict[str, Path]
    held_out: list[tuple[TumourClass, Path]]


def draw_phantom_images(folder: Path) -> DemoImages:
    """Phantoms of all four classes, written to `folder`."""
    write_phantoms(folder, n_training=N_TRAINING, n_testing=N_TESTING + N_HELD_OUT, seed=0)
    return choose_images(folder, PHANTOMS)


def choose_images(folder: Path, origin: str) -> DemoImages:
    """Up to 100 Training and 25 Testing images of each class, and two more to classify; the same choice every time.

    Raises:
        CannotStart: the folder is missing, or does not have the layout of the Nickparvar data set.
    """
    if not folder.is_dir():
        raise CannotStart(f"There is no folder {folder}. It must hold {LAYOUT}; without DATA the demo draws phantoms.")
    uploaded: dict[str, Path] = {}
    held_out: list[tuple[TumourClass, Path]] = []
    for tumour_class in CLASS_ORDER:
        training = _shuffled(folder, Split.TRAINING, tumour_class)[:N_TRAINING]
        testing = _shuffled(folder, Split.TESTING, tumour_class)
        if len(training) < 10 or len(testing) < N_HELD_OUT + 2:
            raise CannotStart(
                f"{folder} has {len(training)} Training and {len(testing)} Testing images of class {tumour_class}; "
                f"the demo needs at least 10 and {N_HELD_OUT + 2}, laid out as {LAYOUT} "
                f"with the classes {', '.join(CLASS_ORDER)}."
            )
        held_out += [(tumour_class, path) for path in testing[:N_HELD_OUT]]
        chosen = [*training, *testing[N_HELD_OUT : N_HELD_OUT + N_TESTING]]
        uploaded |= {path.relative_to(folder).as_posix(): path for path in chosen}
    return DemoImages(origin, uploaded, held_out)


def _shuffled(folder: Path, split: Split, tumour_class: TumourClass) -> list[Path]:
    """The images of one class in an order that depends on their names only."""
    files = sorted(path for path in (folder / split / tumour_class).glob("*") if path.suffix.lower() in ENDINGS)
    random.Random(f"{split}/{tumour_class}").shuffle(files)
    return files
