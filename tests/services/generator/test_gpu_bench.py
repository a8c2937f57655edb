"""The measurement for a GPU, tried on the CPU, since most machines that run these tests have no GPU."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from services.generator.models.presets import STUDY
from tests.bench.gpu.__main__ import main
from tests.bench.gpu.figures import DrawingFigure, TrainingFigure, reckon_drawing
from tests.bench.gpu.images import make_up_images, stack_for, write_jpegs
from tests.bench.gpu.machine import Clock, count_flops
from tests.bench.gpu.report import judge, write_page
from tests.bench.gpu.runs import Results, Run
from tests.bench.gpu.scale import TINY

CPU = torch.device("cpu")


@pytest.mark.filterwarnings("ignore")  # A warning of the profiler must not end it.
def test_the_whole_program_on_a_cpu(tmp_path: Path) -> None:
    assert main(["--device", "cpu", "--tiny", "--target", str(tmp_path)]) == 0
    data, page = json.loads((tmp_path / "gpu.json").read_text()), (tmp_path / "gpu.md").read_text()
    assert [bar["bar"] for bar in data["bars"]] == [4, 0.5, 4, 0.5, 15, 15, 500, 500]
    assert all(bar["figure"] > 0 and bar["met"] == (bar["figure"] >= bar["bar"]) for bar in data["bars"])
    assert (data["notes"], data["failures"], data["trial"]) == ([], [], True)
    assert {(each["loop"], each["preset"]) for each in data["drawing"]} == {
        ("study", "study"),
        ("platform", "study"),
        ("platform", "rigorous"),
    }
    assert [each["loop"] for each in data["training"]].count("study") == 2  # first and last
    assert "reckoned from 4 steps of one image" in page
    assert "the figures mean nothing" in page
    assert "spends its time" in page  # of a trial, whatever share of the peak it reached
    assert data["machine"]["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "Run `make bench-gpu` on a machine with an NVIDIA GPU" in capsys.readouterr().err


def test_all_of_it_on_a_cpu_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "cpu"])
    assert "add --tiny" in capsys.readouterr().err


def test_a_folder_without_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "cpu", "--tiny", "--images", str(tmp_path)])
    assert "holds 0 PNGs and JPEGs" in capsys.readouterr().err


def test_what_there_is_no_time_for_is_named() -> None:
    run = Run(TINY, Clock(0), CPU, make_up_images(8, 16))
    run._train("rigorous", (4,))
    assert run.results.training == []
    assert run.results.notes == ["Not tried for want of time: training `rigorous`, fused attention, batch 4."]


def test_both_loops_learn_the_same_images(tmp_path: Path) -> None:
    """The study's files, transposed as its reader does, are the platform's images but for a second JPEG."""
    images = make_up_images(8, 256)
    (path, *_) = write_jpegs(images, STUDY.size_px, tmp_path)
    with Image.open(path) as image:
        read = np.asarray(image).T.astype(float)
    assert np.abs(read - stack_for(STUDY, images)[0]).max() <= 2


@pytest.mark.parametrize(
    ("measured", "all_steps", "seconds", "said"),
    [
        ({"batch": 1, "n_drawn": 1, "steps": 250}, 1000, 4 * 600, "reckoned from 250 steps of one image"),
        ({"batch": 120, "n_drawn": 120, "steps": 20}, 1000, 50 * 5, "reckoned from 20 steps of 120 images"),
        ({"batch": 16, "n_drawn": 16, "steps": 20}, 20, 38, "reckoned from 20 steps of 16 images"),  # the last padded
        ({"batch": 200, "n_drawn": 600, "steps": 20}, 20, 1, "measured whole"),
    ],
)
def test_600_images_are_reckoned_from_fewer(
    measured: dict[str, int], all_steps: int, seconds: float, said: str
) -> None:
    assert reckon_drawing(1.0, **measured, all_steps=all_steps) == (pytest.approx(seconds), said)


def test_operations_are_those_of_the_published_network() -> None:
    """A convolution costs 2 k^2 C_in C_out operations a pixel; backward costs each product twice, but the input's."""
    forward, both = count_flops(STUDY)
    fused = STUDY.replace({"unet": {"fused_attention": True}})
    assert count_flops(fused) == (forward, both)
    first = 2 * 9 * 1 * 128 * 128**2
    embedding = 2 * (128 * 512 + 512 * 512)  # of the timestep, whose own gradient nobody wants
    assert 0 <= 3 * forward - both - first <= embedding


def test_bars_are_met_from_the_bar_upwards_and_by_the_best_variant() -> None:
    def trained(loop: str, preset: str, images_per_s: float, share: float) -> TrainingFigure:
        return TrainingFigure(loop, preset, "any", "bfloat16", 16, images_per_s, "5 updates", share)

    def drawn(loop: str, steps: int, seconds: float) -> DrawingFigure:
        return DrawingFigure(loop, "study", "any", "bfloat16", 16, "ddpm", steps, seconds, "measured whole", 0.5)

    results = Results(
        1e15,
        {"study": (1, 3), "rigorous": (1, 3)},
        [trained("study", "study", 90, 0.1), trained("study", "study", 100, 0.1)]
        + [trained("platform", "study", speed, speed / 800) for speed in (100, 400, 399)],
        [drawn("study", 1000, 6000), drawn("platform", 1000, 401), drawn("platform", 20, 12)],
    )
    met = {verdict.what: (verdict.figure, verdict.met) for verdict in judge(results)}
    assert met["training, `study`"] == (4, True)
    assert met["share of the peak in training, `study`"] == (0.5, True)
    assert met["600 images at 1000 steps, `study`"] == (pytest.approx(14.96, abs=0.01), False)
    assert met["600 images at 20 steps, `study`"] == (500, True)
    assert met["training, `rigorous`"] == (None, None)
    facts = {"machine": {"device": "a GPU"}, "command": "", "date": "", "seconds": 1.0, "images": "", "trial": False}
    assert "| training, `rigorous` | 100.0 images/s | - | - | 4 x | not measured |" in write_page(results, facts)
