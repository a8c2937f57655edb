"""Training and drawing without a platform: the same bits as with one, however often it is cut off."""

import io
import itertools
import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from deploy.offline.__main__ import main
from deploy.offline.draw import ClassNotSaid, DrawnOtherwise, draw_offline
from deploy.offline.files import BUNDLE, CARD, CONFIG, WEIGHTS
from deploy.offline.pack import pack_training
from deploy.offline.parcel import Parcel
from deploy.offline.train import fit_epochs, train_offline
from services.generator.models.checkpoints import CheckpointDamaged, read_tensors, write_tensors, write_weights
from services.generator.models.preset import MAX_EPOCHS, Preset
from services.generator.models.training_record import read_own_preset, read_training
from services.generator.models.weight_files import read_header
from services.generator.sampling.recipe import SamplingWishes
from services.generator.sources import NotADiffusionModel
from services.generator.train_jobs import TrainingWishes
from services.generator.training.data import TrainingData
from services.generator.training.loop import train_model
from services.generator.training.resume import EpochsDecided, ResumeBundleMismatch
from shared.artifacts.leakage import KnownLeakage
from shared.client import ApiProblem, SynthMRI
from shared.progress import NoProgress, Stopping
from shared.tumour import CLASS_ORDER, TumourClass
from tests.services.generator.micro import MICRO, Recorder, conditional, draw_images, random_network

SOME = TrainingData(draw_images(10), draw_images(2, seed=1), torch.arange(10).numpy() % 4, torch.arange(2).numpy())
PARCEL = Parcel(SOME, conditional(MICRO), seed=3, described={"image_set": "set-1", "class": None, "n_images": 10})
ONE_CLASS = Parcel(TrainingData(draw_images(10)), MICRO, seed=3, described={"class": "glioma", "n_images": 10})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_offline(PARCEL, folder, NoProgress())
    return folder


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return read_tensors((folder / WEIGHTS).read_bytes())[0]


def test_a_parcel_arrives_as_it_was_sent() -> None:
    start = random_network(7, PARCEL.preset.unet).state_dict()
    arrived = Parcel.from_bytes(replace(PARCEL, start=start).to_bytes())
    assert (arrived.preset, arrived.seed, arrived.described) == (PARCEL.preset, 3, PARCEL.described)
    assert (arrived.data.images_u8 == SOME.images_u8).all()
    assert (arrived.data.held_out_classes == SOME.held_out_classes).all()
    assert arrived.start is not None
    assert all(torch.equal(arrived.start[name], tensor) for name, tensor in start.items())
    assert Parcel.from_bytes(PARCEL.to_bytes()).start is None
    with pytest.raises(CheckpointDamaged, match="make one anew"):
        Parcel.from_bytes(write_tensors({"images": torch.zeros(1)}, {}))


def test_the_node_trains_what_a_worker_would(trained: Path) -> None:
    worker = train_model(SOME, PARCEL.preset, seed=3, progress=NoProgress())
    expected = worker.weights[worker.chosen]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights_of(trained).items())
    card = json.loads((trained / CARD).read_text())
    assert card["curves"]["loss"] == worker.curves["loss"]
    assert (card["image_set"], card["n_images"], card["precision"]) == ("set-1", 10, worker.precision)
    assert card["device"]
    assert Preset.model_validate_json((trained / CONFIG).read_text()) == PARCEL.preset


def test_a_training_that_is_cut_off_goes_on_to_the_same_bits(trained: Path, tmp_path: Path) -> None:
    for stop_at in (0, 4):
        with pytest.raises(Stopping):
            train_offline(PARCEL, tmp_path, Recorder(stop_at, how=Stopping))
        assert (tmp_path / BUNDLE).exists()
    train_offline(PARCEL, tmp_path, NoProgress(), within_s=1000)  # Too late: the epochs are decided.
    assert all(torch.equal(tensor, weights_of(trained)[name]) for name, tensor in weights_of(tmp_path).items())
    assert not (tmp_path / BUNDLE).exists()


@pytest.mark.parametrize("begun", [2, 5])
def test_a_training_takes_other_epochs_while_its_step_size_has_not_begun_to_fall(
    trained: Path, tmp_path: Path, begun: int
) -> None:
    other = replace(PARCEL, preset=PARCEL.preset.override(epochs=begun))
    with pytest.raises(Stopping):
        train_offline(other, tmp_path, Recorder(4, how=Stopping))
    with pytest.raises(Stopping):
        train_offline(other, tmp_path, Recorder(1, how=Stopping), epochs=PARCEL.preset.epochs)
    card = train_offline(other, tmp_path, NoProgress())  # The number that was named stays.
    assert card["epochs"] == PARCEL.preset.epochs
    assert all(torch.equal(tensor, weights_of(trained)[name]) for name, tensor in weights_of(tmp_path).items())
    assert Preset.model_validate_json((tmp_path / CONFIG).read_text()) == PARCEL.preset


@pytest.mark.parametrize(
    ("begun", "wanted", "said"),
    [(5, 3, "8 updates are made.* 4 epochs or more"), (3, 5, "let it end"), (3, 1, "let it end")],
)
def test_epochs_that_come_too_late_are_refused_and_the_training_goes_on(
    tmp_path: Path, begun: int, wanted: int, said: str
) -> None:
    parcel = replace(PARCEL, preset=PARCEL.preset.override(epochs=begun))
    with pytest.raises(Stopping):
        train_offline(parcel, tmp_path, Recorder(8, how=Stopping))
    before = (tmp_path / BUNDLE).read_bytes()
    with pytest.raises(EpochsDecided, match=said):
        train_offline(parcel, tmp_path, NoProgress(), epochs=wanted)
    assert (tmp_path / BUNDLE).read_bytes() == before
    assert train_offline(parcel, tmp_path, NoProgress())["epochs"] == begun


def test_a_bundle_of_another_preset_is_kept_for_its_own(tmp_path: Path) -> None:
    with pytest.raises(Stopping):
        train_offline(PARCEL, tmp_path, Recorder(2, how=Stopping))
    before = (tmp_path / BUNDLE).read_bytes()
    other = replace(PARCEL, preset=PARCEL.preset.replace({"learning_rate": 1e-5}))
    with pytest.raises(ResumeBundleMismatch, match="another folder"):
        train_offline(other, tmp_path, NoProgress())
    assert (tmp_path / BUNDLE).read_bytes() == before


def test_time_decides_the_epochs_and_they_end_with_the_cool_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 0.1 * next(ticks), strftime=time.strftime)
    monkeypatch.setattr("deploy.offline.train.time", clock)  # An update takes a tenth of a second.
    long = replace(PARCEL, preset=PARCEL.preset.replace({"epochs": 1000}))
    card = train_offline(long, tmp_path, NoProgress(), within_s=10, trial_s=3)
    # The trial takes 3.4 s of the ten; nine tenths of the rest are 59 updates, three for each epoch.
    assert 18 <= card["epochs"] <= 20
    preset = Preset.model_validate_json((tmp_path / CONFIG).read_text())
    assert preset == long.preset.override(epochs=card["epochs"])
    assert fit_epochs(PARCEL, within_s=0, trial_s=0) == 1
    assert fit_epochs(PARCEL, within_s=1000, trial_s=1000) > PARCEL.preset.epochs  # A trial may be a whole training.
    single = replace(PARCEL, preset=PARCEL.preset.replace({"epochs": 1, "batch_size": 10}))
    # One update is the whole trial: a tenth of a second and the looks at the clock. Nine tenths of a hundred seconds.
    assert 200 <= fit_epochs(single, within_s=100, trial_s=10) <= 900
    assert fit_epochs(single, within_s=1e9, trial_s=10) == MAX_EPOCHS


def test_weights_of_half_the_bytes_are_the_same_but_for_rounding(trained: Path, tmp_path: Path) -> None:
    train_offline(PARCEL, tmp_path, NoProgress(), half=True)
    tensors = weights_of(tmp_path)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(torch.equal(tensor, weights_of(trained)[name].half()) for name, tensor in tensors.items())


def test_missing_images_are_drawn_to_the_same_bytes_and_others_stay(trained: Path, tmp_path: Path) -> None:
    weights, wishes = (trained / WEIGHTS).read_bytes(), SamplingWishes(steps=3, seed=5, batch_size=4, guidance=2)
    target = tmp_path / "drawn"
    facts = draw_offline(weights, 6, target, wishes, NoProgress())
    files = {path: path.read_bytes() for path in sorted(target.rglob("*.*"))}  # Images alone, to be uploaded as it is.
    assert json.loads((tmp_path / "drawn.json").read_text()) == facts
    assert [path.parent.name for path in files] == [str(each) for each in sorted(CLASS_ORDER) for _ in range(6)]
    assert [facts["classes"][each]["seed"] for each in CLASS_ORDER] == [5, 6, 7, 8]
    assert len(set(files.values())) == len(files)
    lost, kept = list(files)[2], list(files)[3]
    lost.unlink()
    kept.write_bytes(b"mine")
    again = draw_offline(weights, 6, target, wishes, NoProgress())
    counts = {each: drawn["images"] for each, drawn in facts["classes"].items()}
    assert set(counts.values()) == {6}
    assert {each: drawn["images"] for each, drawn in again["classes"].items()} == counts | {lost.parent.name: 7}
    assert all(again["classes"][each]["seconds"] >= drawn["seconds"] for each, drawn in facts["classes"].items())
    assert lost.read_bytes() == files[lost]
    assert kept.read_bytes() == b"mine"
    assert again["classes"].keys() == facts["classes"].keys()


def test_the_file_beside_a_drawing_tells_the_images_of_all_runs(trained: Path, tmp_path: Path) -> None:
    weights, wishes = (trained / WEIGHTS).read_bytes(), SamplingWishes(steps=3, seed=5, batch_size=1)
    target, card = tmp_path / "drawn", tmp_path / "drawn.json"

    def count() -> list[int]:
        return [drawn["images"] for drawn in json.loads(card.read_text())["classes"].values()]

    with pytest.raises(Stopping):
        draw_offline(weights, 4, target, wishes, Recorder(3 * 2, how=Stopping))  # within the third image
    assert count() == [2]
    with pytest.raises(Stopping):
        draw_offline(weights, 4, target, wishes, Recorder(3 * 3, how=Stopping))
    assert count() == [4, 1]
    killed = json.loads(card.read_text())
    del killed["classes"][CLASS_ORDER[1]]  # A run that is killed says nothing of the class it was at.
    card.write_text(json.dumps(killed))
    draw_offline(weights, 4, target, wishes, NoProgress())
    assert count() == [4, 4, 4, 4]


def test_a_folder_holds_one_drawing(trained: Path, tmp_path: Path) -> None:
    weights, target = (trained / WEIGHTS).read_bytes(), tmp_path / "drawn"

    def draw(weights: bytes = weights, tumour_class: TumourClass | None = None, **wishes: Any) -> dict[str, Any]:
        asked = SamplingWishes(**{"steps": 2, "seed": 5, **wishes})
        return draw_offline(weights, 2, target, asked, NoProgress(), tumour_class=tumour_class)

    with pytest.raises(Stopping):
        draw_offline(weights, 2, target, SamplingWishes(steps=2, seed=5), Recorder(1, how=Stopping))
    draw(tumour_class=TumourClass.PITUITARY)
    assert [path.name for path in target.iterdir() if any(path.iterdir())] == ["pituitary"]
    assert draw()["classes"].keys() == {str(each) for each in CLASS_ORDER}
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    other = random_network(9, PARCEL.preset.unet).state_dict()
    for different in ({"seed": 7}, {"guidance": 3}, {"weights": write_weights(other, PARCEL.preset)}):
        with pytest.raises(DrawnOtherwise, match="name another folder"):
            draw(**different)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == files
    (tmp_path / "drawn.json").unlink()
    with pytest.raises(DrawnOtherwise, match=r"no .* says how"):
        draw()


def test_a_model_is_drawn_with_in_the_arithmetic_that_the_platform_would_take(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(trained, tmp_path / "trained")
    card = json.loads((folder / CARD).read_text()) | {"precision": "bfloat16"}
    (folder / CARD).write_text(json.dumps(card))
    command = ["draw", str(folder), "-n", "1", "--steps", "2", "--class", "notumor", "-o"]
    assert main([*command, str(tmp_path / "first")]) == 0
    assert '"precision": "bfloat16"' in capsys.readouterr().out
    assert main([*command, str(tmp_path / "second"), "--precision", "float32"]) == 0
    assert '"precision": "float32"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--batch-size", "-3", "-3 is below 1"),
        ("--guidance", "0.5", "0.5 is below 1"),
        ("--guidance", "nan", "nan is below 1"),
        ("--seed", "-1", "-1 is below 0"),
        ("-n", "0", "0 is below 1"),
        ("-n", "few", "invalid int value"),
        ("--sampler", "foo", "invalid choice"),
    ],
)
def test_what_the_platform_refuses_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    with pytest.raises(SystemExit):
        main(["draw", str(trained), "-o", str(tmp_path / "drawn"), option, value])
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--seed", str(2**53), f"{2**53} is above {2**53 - 1}"),
        ("--leakage-waiver", "x" * 501, "give 3 to 500 printable characters"),
        ("--leakage-waiver", "  ", "give 3 to 500 printable characters"),
    ],
)
def test_what_a_training_may_not_be_asked_is_not_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    with pytest.raises(SystemExit):
        main(["pack", "set-1", "-o", str(tmp_path / "training.safetensors"), option, value])
    assert said in capsys.readouterr().err


def test_the_weights_carry_their_card(trained: Path) -> None:
    data = (trained / WEIGHTS).read_bytes()
    metadata = read_header(io.BytesIO(data), len(data)).metadata
    record, card = read_training(metadata), json.loads((trained / CARD).read_text())
    assert record is not None
    assert (record.image_set, record.seed) == ("set-1", 3)
    described = record.describe()
    known = card.keys() & described.keys()
    assert known >= {"n_images", "epochs", "updates", "final_loss", "seconds", "precision", "device", "curves"}
    assert {name: described[name] for name in known} == {name: card[name] for name in known}
    assert read_own_preset(metadata) == PARCEL.preset


def test_weights_of_one_class_need_its_name(tmp_path: Path) -> None:
    train_offline(ONE_CLASS, tmp_path, NoProgress())
    with pytest.raises(ClassNotSaid):
        draw_offline((tmp_path / WEIGHTS).read_bytes(), 1, tmp_path, SamplingWishes(steps=2), NoProgress())
    assert main(["draw", str(tmp_path), "-o", str(tmp_path / "drawn"), "-n", "1", "--steps", "2"]) == 0
    assert [path.name for path in (tmp_path / "drawn" / TumourClass.GLIOMA).iterdir()] == ["glioma_0001.png"]
    assert main(["draw", str(tmp_path), "-o", str(tmp_path / "other"), "--class", "notumor"]) == 1
    assert not (tmp_path / "other").exists()


def test_signals_are_left_as_they_were(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    (tmp_path / "training.safetensors").write_bytes(PARCEL.to_bytes())
    assert main(["train", str(tmp_path / "training.safetensors"), "-o", str(tmp_path / "trained")]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_the_command_line_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed, folder = tmp_path / "training.safetensors", tmp_path / "trained"
    packed.write_bytes(PARCEL.to_bytes())
    assert main(["train", str(packed), "-o", str(folder), "--half", "--epochs", "2"]) == 0
    assert '"epochs": 2' in capsys.readouterr().out
    before = (folder / WEIGHTS).read_bytes()
    assert main(["train", str(packed), "-o", str(folder)]) == 0
    assert "name another folder" in capsys.readouterr().out
    assert (folder / WEIGHTS).read_bytes() == before
    assert main(["draw", str(folder), "-o", str(tmp_path / "drawn"), "--steps", "2000"]) == 1
    assert "was trained on 1000 steps" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "missing"), "-o", str(tmp_path / "other")]) == 1
    assert "missing" in capsys.readouterr().err
    packed.write_bytes(b"\x80\x04 no parcel")
    assert main(["train", str(packed), "-o", str(tmp_path / "other")]) == 1
    assert "pickle" in capsys.readouterr().err


def test_a_training_begins_with_a_diffusion_model_only() -> None:
    client = SimpleNamespace(
        image_set=lambda _: {"kind": "preprocessed", "manifest": {"id": "set-1", "images": [], "parents": []}},
        images=lambda _: iter(()),
        annotations=lambda _: iter(()),
        model=lambda _: {"kind": "classifier", "config": {}},
    )
    with pytest.raises(NotADiffusionModel, match="mdl-1 is a classifier"):
        pack_training(
            cast("SynthMRI", client), "set-1", None, TrainingWishes(start_from="mdl-1", leakage_waiver="test")
        )


def test_patients_named_at_a_raw_set_behind_count() -> None:
    """Of set-1, made of set-2, made of set-3 by leaving images out; nobody finds the report beside it."""
    parents = {"set-1": ["set-2"], "set-2": ["set-3", "rep-1"], "set-3": []}
    images = [{"name": name, "split": split, "group": None} for name, split in (("a", "Training"), ("b", "Testing"))]
    prepared = [{**image, "name": f"{image['name']}.png", "source": image["name"]} for image in images]
    named = [{**image, "group": "p1"} for image in images]
    shown = {"set-1": prepared, "set-2": images, "set-3": named}

    def image_set(name: str) -> dict[str, Any]:
        if name not in parents:
            raise ApiProblem(404, "image_set_not_found", "There is none.")
        manifest = {"id": name, "images": shown[name], "parents": parents[name], "report": {}}
        return {"kind": "preprocessed" if name == "set-1" else "raw", "manifest": manifest}

    client = SimpleNamespace(
        image_set=image_set,
        images=lambda name: iter(shown[name]),
        annotations=lambda name: iter([{"name": "a", "group": "p1"}] if name == "set-3" else []),
    )
    with pytest.raises(KnownLeakage, match="p1"):
        pack_training(cast("SynthMRI", client), "set-1", None, TrainingWishes())


def test_a_platform_that_does_not_answer_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHMRI_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SYNTHMRI_PORT", "1")
    wanted = ["pack", "set-1", "-o", str(tmp_path / "training.safetensors")]
    assert main(wanted) == 1
    assert "api-key" in capsys.readouterr().err
    (tmp_path / "api-key").write_text("key")
    assert main(wanted) == 1
    assert "does not answer" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*wanted, "--overrides", "[1]"])
