"""Weights from elsewhere fit or are refused with a reason; weights from here work with MONAI alone."""

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import safetensors.torch
import torch
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

from services.generator.models.export import describe_for_monai, write_companions, write_zip
from services.generator.models.interchange import (
    TensorsDoNotFit,
    WeightsNotFinite,
    fit_weights,
    modern_name,
    read_weights,
)
from services.generator.models.network import build_network
from services.generator.models.presets import find_preset
from services.generator.models.weight_files import CheckpointIsPickle, Header, NotSafetensors, read_header
from tests.services.generator.micro import MICRO, random_network

CLASSES = MICRO.replace({"classes": ["glioma", "notumor"]})


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict under the names of monai-generative 0.2.3 (`diffusion_model_unet.py`: AttentionBlock, Upsample)."""
    return {
        name.replace(".attn.to_", ".to_").replace(".attn.out_proj.", ".proj_attn.").replace("postconv", "conv"): tensor
        for name, tensor in state.items()
    }


def test_old_names_are_read_as_monai_itself_reads_them() -> None:
    state = random_network().state_dict()
    old = old_names(state)
    assert set(old) != set(state)
    by_monai = DiffusionModelUNet(**describe_for_monai(MICRO)["network"])
    with contextlib.redirect_stdout(io.StringIO()):  # MONAI prints
        by_monai.load_old_state_dict(dict(old))
    ours = fit_weights(old, MICRO)
    assert ours.keys() == by_monai.state_dict().keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in by_monai.state_dict().items())


@pytest.mark.parametrize("preset", ["study", "rigorous", "compact", "tiny", "tiny-32"])
def test_new_names_stay_as_they_are_and_old_ones_become_them(preset: str) -> None:
    with torch.device("meta"):
        names = list(build_network(find_preset(preset).unet).state_dict())
    assert [modern_name(name) for name in names] == names
    old = old_names(dict.fromkeys(names, torch.zeros(())))
    assert [modern_name(f"module.{name}") for name in old] == names


def test_half_precision_weights_are_taken_as_float32() -> None:
    state = {name: tensor.to(torch.bfloat16) for name, tensor in random_network().state_dict().items()}
    fitted = fit_weights(read_weights(safetensors.torch.save(state)), MICRO)
    assert {tensor.dtype for tensor in fitted.values()} == {torch.float32}
    assert all(torch.equal(fitted[name], tensor.float()) for name, tensor in state.items())


def test_what_does_not_fit_is_named() -> None:
    state = random_network().state_dict()
    state["conv_in.conv.weight"] = torch.zeros(1, 1)
    state["ema.decay"] = torch.zeros(1)
    del state["time_embed.0.weight"]
    with pytest.raises(TensorsDoNotFit) as caught:
        fit_weights(state, MICRO)
    assert "1 missing (time_embed.0.weight); 1 left over (ema.decay); 1 of another shape" in caught.value.detail
    assert "conv_in.conv.weight [1, 1] in place of [8, 4, 3, 3]" in caught.value.detail
    assert caught.value.extra["missing"] == ["time_embed.0.weight"]
    with pytest.raises(TensorsDoNotFit, match="missing"):
        fit_weights(random_network().state_dict(), find_preset("study"))
    doubled = {**random_network().state_dict(), **old_names(random_network().state_dict())}
    with pytest.raises(TensorsDoNotFit, match="under an old and a new name"):
        fit_weights(doubled, MICRO)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    state = random_network().state_dict()
    state["conv_in.conv.weight"][0, 0, 0, 0] = value
    with pytest.raises(WeightsNotFinite, match="conv_in"):
        fit_weights(state, MICRO)


def test_a_number_beyond_float32_is_refused() -> None:
    state = {name: tensor.to(torch.float64) for name, tensor in random_network().state_dict().items()}
    state["conv_in.conv.weight"][0, 0, 0, 0] = 1e300
    with pytest.raises(WeightsNotFinite, match=r"beyond float32: 1 affected \(conv_in"):
        fit_weights(read_weights(safetensors.torch.save(state)), MICRO)


def test_a_file_is_judged_by_its_header() -> None:
    def read(data: bytes) -> Header:
        return read_header(io.BytesIO(data), len(data))

    good = safetensors.torch.save({"a": torch.zeros(2, 3)})
    assert read(good).tensors["a"].shape == (2, 3)
    legacy, archive = io.BytesIO(), io.BytesIO()
    torch.save({}, legacy, _use_new_zipfile_serialization=False)
    torch.save({}, archive)
    for data in (legacy.getvalue(), archive.getvalue(), pickle.dumps({})):
        with pytest.raises(CheckpointIsPickle, match="save_file"):
            read(data)
        with pytest.raises(CheckpointIsPickle):
            read_weights(data)
    deep = b"[" * 100_000
    broken = (
        b"", b"abc", good[:-1], good + b"x", bytes(100), len(deep).to_bytes(8, "little") + deep,
        (2).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]", (5).to_bytes(8, "little") + b'{"a":',
        safetensors.torch.save({"a": torch.zeros(2, dtype=torch.int64)}),
    )  # fmt: skip
    for data in broken:
        with pytest.raises(NotSafetensors):
            read(data)


def write_header(entries: str) -> bytes:
    """A safetensors file with this text as header and room for two float32 numbers."""
    header = entries.encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + bytes(8)


GOOD_ENTRY = {"dtype": '"F32"', "shape": "[2]", "data_offsets": "[0,8]"}
STRANGE = (
    "null", "true", "[]", "{}", "[0]", "[0,8,8]", "[0,1e999]", "[-1e999,8]", "[NaN,8]", "[0,8.0]", '["0","8"]', "[8,0]",
    "[-8,8]", "[true,8]", "[[0],8]", "[1e999]", "[2.0]", "[-2]", "[3]", "2", '"2"', '"F\\ud800"', '"f32"', '"I64"',
    '"F64"', "1e999", "[" + "9" * 400 + "]", "[" + "9" * 5000 + "]", "[" + "1," * 100_000 + "2]", "[" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("member", list(GOOD_ENTRY))
@pytest.mark.parametrize("value", [*STRANGE, None])
def test_a_strange_header_is_refused_by_name(member: str, value: str | None) -> None:
    members = {**GOOD_ENTRY, member: value}
    text = ",".join(f'"{name}":{there}' for name, there in members.items() if there is not None)
    data = write_header(f'{{"a":{{{text}}}}}')
    with pytest.raises(NotSafetensors) as caught:
        read_header(io.BytesIO(data), len(data))
    caught.value.detail.encode()


def test_the_strange_headers_are_one_step_from_a_good_one() -> None:
    text = ",".join(f'"{name}":{value}' for name, value in GOOD_ENTRY.items())
    data = write_header(f'{{"a":{{{text}}}}}')
    assert read_header(io.BytesIO(data), len(data)).tensors["a"].shape == (2,)
    for broken in (
        f'{{"a":{text}}}',
        f'{{"a":[{{{text}}}]}}',
        '{"a":null}',
        '{"__metadata__":[]}',
        "[[1]]",
        '"a"',
        "\ud800",
    ):
        data = write_header(broken)
        with pytest.raises(NotSafetensors):
            read_header(io.BytesIO(data), len(data))


DRIVER = """
import os, runpy, sys
from safetensors.torch import load_file, save_file
for folder in sys.argv[1:]:
    os.chdir(folder)
    script = runpy.run_path("sample.py")
    asked = load_file("asked.safetensors")
    answer = script["predict"](asked["x_t"], asked["timesteps"], asked.get("classes"))
    save_file({"answer": answer, "drawn": script["x_t"]}, "out.safetensors")
print([name for name in sys.modules if name.split(".")[0] in ("services", "shared", "gateway")])
"""


def test_monai_alone_predicts_what_we_predict(tmp_path: Path) -> None:
    presets = {
        "one": MICRO.replace({"schedule": {"train_steps": 20}}),
        "all": CLASSES.replace({"schedule": {"betas": "cosine", "train_steps": 20}, "transpose": True}),
    }
    networks = {name: random_network(config=preset.unet) for name, preset in presets.items()}
    asked = {"x_t": torch.randn(3, 1, 16, 16), "timesteps": torch.tensor([0, 7, 19])}
    classes = {"one": {}, "all": {"classes": torch.tensor([0, 1, 2])}}
    for folder, preset in presets.items():
        (tmp_path / folder).mkdir()
        for name, data in write_companions(preset, "mdl-1", "micro").items():
            (tmp_path / folder / name).write_bytes(data)
        safetensors.torch.save_file(networks[folder].state_dict(), tmp_path / folder / "weights.safetensors")
        safetensors.torch.save_file({**asked, **classes[folder]}, tmp_path / folder / "asked.safetensors")
    environ = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-W", "ignore", "-c", DRIVER, *(str(tmp_path / folder) for folder in presets)]
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert ran.stdout.strip().splitlines()[-1:] == ["[]"], ran.stderr
    for folder, network in networks.items():
        out = safetensors.torch.load_file(tmp_path / folder / "out.safetensors")
        with torch.no_grad():
            expected = network(asked["x_t"], asked["timesteps"], classes[folder].get("classes"))
        assert torch.equal(out["answer"], expected)
        assert torch.isfinite(out["drawn"]).all()
        picture = (tmp_path / folder / "sample.pgm").read_bytes()
        assert (picture[:13], len(picture)) == (b"P5 16 16 255\n", 13 + 256)


def test_the_zip_of_a_large_model_needs_little_memory() -> None:
    """3 GiB go through in pieces; of a file beyond 2 GiB the zip has the fields that its reader needs."""
    piece, n_pieces, n_bytes = bytes(16 * 1024**2), 192, 0
    tracemalloc.start()
    for part in write_zip({"README.txt": b"read"}, "large", len(piece) * n_pieces, (piece for _ in range(n_pieces))):
        n_bytes += len(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n_bytes > len(piece) * n_pieces
    assert peak < 3 * len(piece)


def test_the_script_and_the_recipe_are_in_the_readme_and_the_config() -> None:
    files = write_companions(find_preset("study"), "mdl-1", "study glioma")
    script = files["sample.py"].decode()
    assert all(line.strip() in files["README.txt"].decode() for line in script.splitlines())
    config = json.loads(files["config.json"])
    network = DiffusionModelUNet(**config["network"])
    assert sum(parameter.numel() for parameter in network.parameters()) == 18_500_993
    assert find_preset("study").replace(config["preset"]) == find_preset("study")
