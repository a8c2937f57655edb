from pathlib import Path

import pytest
from PIL import Image

from deploy.embedded.console import CannotStart
from deploy.embedded.demo_data import N_HELD_OUT, N_TESTING, N_TRAINING, choose_images
from shared.tumour import CLASS_ORDER


def fill(folder: Path, n_training: int, n_testing: int, ending: str = ".jpg") -> Path:
    for split, count in (("Training", n_training), ("Testing", n_testing)):
        for tumour_class in CLASS_ORDER:
            target = folder / split / tumour_class
            target.mkdir(parents=True)
            for index in range(count):
                Image.new("L", (16, 16), index).save(target / f"{index:04}{ending}")
    return folder


def test_the_choice_is_bounded_balanced_and_always_the_same(tmp_path: Path) -> None:
    folder = fill(tmp_path, N_TRAINING + 20, N_TESTING + 20)
    chosen = choose_images(folder, "here")
    assert chosen == choose_images(folder, "here")
    for tumour_class in CLASS_ORDER:
        names = [name for name in chosen.uploaded if f"/{tumour_class}/" in name]
        assert sum(name.startswith("Training/") for name in names) == N_TRAINING
        assert sum(name.startswith("Testing/") for name in names) == N_TESTING


def test_held_out_images_are_never_uploaded(tmp_path: Path) -> None:
    chosen = choose_images(fill(tmp_path, 12, 6), "here")
    assert len(chosen.held_out) == N_HELD_OUT * len(CLASS_ORDER)
    assert not {path for _, path in chosen.held_out} & set(chosen.uploaded.values())
    assert all(path.parent.name == tumour_class for tumour_class, path in chosen.held_out)


def test_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"There is no folder .*/absent\. It must hold .*Training"):
        choose_images(tmp_path / "absent", "here")


def test_a_wrong_layout_is_a_sentence_that_shows_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "glioma").mkdir()
    with pytest.raises(CannotStart, match=r"0 Training and 0 Testing images of class glioma; .*laid out as"):
        choose_images(tmp_path, "here")
