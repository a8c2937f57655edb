"""The comparison of synthetic sets: what its table shows, and that a run which was cut off goes on."""

import json
import zipfile
from pathlib import Path
from typing import Any, cast

import numpy as np

from deploy.compare import Comparison, write_table
from services.generator.images import decode_gray, encode_png
from shared.client import SynthMRI


def measured(fid: float) -> dict[str, Any]:
    """What `Comparison.measure` keeps of one set, with one score, one class and one cue."""
    cue = {
        "cue": "sharpness",
        "unit": "gray levels squared",
        "synthetic": {"median": 169.2},
        "reference": {"median": 7},
    }
    memorisation = {"copies": ["glioma/a.png"], "baseline": {"n_above": 3}}
    glioma = {
        "memorisation": memorisation,
        "shortcuts": {"cues": [cue, {"cue": "border"}], "detector": {"auc": 1.0, "auc_of_baseline": 0.5}},
        "diversity": {"coverage": {"synthetic_of_as_many": 0.25, "baseline": 0.9}},
    }
    side = {"accuracy": 0.7, "interval": [0.6, 0.8]}
    score = {"label": "Frechet distance", "value": fid, "interval": {"low": 1, "high": 90}, "real": {"value": 2.5}}
    return {
        "scores": {"classifier": [score], "radiomics": [score]},
        "unseen": "Testing",
        "audit": {"usefulness": {"synthetic": side, "real": side}, "classes": {"glioma": glioma}},
        "copies_of_rigorous": {"glioma": {"memorisation": {"copies": []}}},
    }


def test_each_set_has_a_column_and_the_real_images_the_last() -> None:
    lines = write_table({"study": measured(76.1), "ours": measured(12.0)}).splitlines()
    assert lines[0] == "| | study | ours | real |"
    assert "| Frechet distance, classifier, from Testing | 76.1 [1, 90] | 12 [1, 90] | 2.5 |" in lines
    assert "| Frechet distance, radiomics | 76.1 [1, 90] | 12 [1, 90] | 2.5 |" in lines
    assert "| usefulness (accuracy on real Testing images) | 0.700 [0.600, 0.800] | 0.700 [0.600, 0.800] | " in (
        "\n".join(lines)
    )
    assert "| copies of Training images, glioma | 1 | 1 | 3 |" in lines
    assert "| sharpness, median, glioma (gray levels squared) | 169.2 | 169.2 | 7 |" in lines
    assert "| copies of Training images of `rigorous`, glioma | 0 | 0 |  |" in lines
    assert len({line.count("|") for line in lines}) == 1


def test_what_was_not_audited_is_left_open() -> None:
    reduced = measured(3.0) | {"unseen": "Training"}
    del reduced["copies_of_rigorous"], reduced["audit"]["usefulness"]
    del reduced["audit"]["classes"]["glioma"]["memorisation"]
    lines = write_table({"study": measured(76.1), "real at 128 px": reduced}).splitlines()
    assert "| copies of Training images, glioma | 1 |  | 3 |" in lines
    assert "| Frechet distance, classifier, from Testing | 76.1 [1, 90] |  | 2.5 |" in lines
    assert "| Frechet distance, classifier, from Training |  | 3 [1, 90] | 2.5 |" in lines
    assert "| Frechet distance, radiomics | 76.1 [1, 90] | 3 [1, 90] | 2.5 |" in lines
    assert "| detector AUC, glioma | 1.000 | 1.000 | 0.500 |" in lines


class OneArchive:
    """A client whose only set holds one Testing image of white stripes, one pixel wide."""

    def download_archive(self, image_set: str, target: Path, **filters: str) -> int:
        assert (image_set, filters) == ("set-1", {"split": "Testing"})
        stripes = np.zeros((256, 256), np.uint8)
        stripes[::2] = 255
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("Testing/glioma/Te-gl_0001.jpg", encode_png(stripes))
        return target.stat().st_size


def test_real_images_lose_what_a_small_model_cannot_draw(tmp_path: Path) -> None:
    comparison = Comparison(cast("SynthMRI", OneArchive()), tmp_path)
    comparison.results["real"] = "set-1"
    comparison.reduce(128, tmp_path / "reduced")
    reduced = decode_gray((tmp_path / "reduced" / "glioma" / "Te-gl_0001.png").read_bytes())
    assert reduced.shape == (256, 256)
    assert set(np.unique(reduced)) == {128}


def test_what_was_prepared_is_not_prepared_again(tmp_path: Path) -> None:
    kept = {"real": "set-1", "rigorous": "set-2", "classifier": "mdl-1", "sets": {"study": measured(1)}}
    (tmp_path / "results.json").write_text(json.dumps(kept))
    comparison = Comparison(cast("SynthMRI", None), tmp_path)  # no platform is asked
    comparison.prepare(tmp_path / "nowhere")
    assert comparison.results == kept


def test_a_folder_that_does_not_exist_is_made(tmp_path: Path) -> None:
    assert Comparison(cast("SynthMRI", None), tmp_path / "a" / "b").results == {"sets": {}}
    assert (tmp_path / "a" / "b").is_dir()
