"""A diffusion model as files that MONAI alone can use: how to build network and scheduler, and a script that does."""

import json
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, Final

from services.generator.models.preset import Preset

SCRIPT: Final = """\
import json

import torch
import torch.nn.functional as F
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from safetensors.torch import load_file

config = json.load(open("config.json"))
network = DiffusionModelUNet(**config["network"]).eval()
network.load_state_dict(load_file("weights.safetensors"))
scheduler = DDPMScheduler(**config["scheduler"])
p, size, classes = config["patch_px"], config["size_px"], config["classes"]
wanted = torch.tensor([0]) if classes else None  # the number of the class: its place in config["classes"]


@torch.no_grad()
def predict(x_t, timesteps, classes=None):
    return F.pixel_shuffle(network(F.pixel_unshuffle(x_t, p), timesteps, class_labels=classes), p)


x_t = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(0))
for t in range(config["scheduler"]["num_train_timesteps"] - 1, -1, -1):
    x_t, _ = scheduler.step(predict(x_t, torch.tensor([t]), wanted), t, x_t)
low, high = config["value_range"]
image = ((x_t[0, 0] - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
image = image.T if config["transposed"] else image
open("sample.pgm", "wb").write(b"P5 %d %d 255\\n" % (size, size) + bytes(image.flatten().tolist()))
"""

_README: Final = """\
{name}: a diffusion model of brain MRI slices, exported from SynthMRI as model {model_id}.

weights.safetensors  the state dict, under the names of MONAI's DiffusionModelUNet
config.json          network: arguments of monai.networks.nets.DiffusionModelUNet
                     scheduler: arguments of monai.networks.schedulers.DDPMScheduler
                     patch_px: images are folded into patch_px^2 channels before the network (1: as they are)
                     size_px: side of the images, pixels
                     value_range: what gray levels 0 and 255 are to the network
                     transposed: whether it learned images with rows and columns exchanged
                     classes: of a class-conditional network, in the order of their numbers; the number after the
                     last means that the class is withheld
                     preset: the whole recipe, which POST /models/import takes back as `config`
sample.py            draws one image with MONAI, einops, torch and safetensors alone, and writes sample.pgm

For research only; not for diagnosis. The script, which runs in this folder:

"""


def describe_for_monai(preset: Preset) -> dict[str, Any]:
    """The content of `config.json`; the arguments are those of MONAI 1.4 and later."""
    unet, schedule = preset.unet, preset.schedule
    betas: dict[str, Any] = {"schedule": "cosine"}
    if schedule.betas == "linear":
        betas = {"schedule": "linear_beta", "beta_start": schedule.beta_start, "beta_end": schedule.beta_end}
    return {
        "network": {
            "spatial_dims": 2,
            "in_channels": unet.patch_px**2,
            "out_channels": unet.patch_px**2,
            "channels": unet.channels,
            "attention_levels": unet.attention_levels,
            "num_res_blocks": unet.res_blocks,
            "num_head_channels": unet.head_channels,
            "norm_num_groups": unet.norm_groups,
            "num_class_embeds": unet.n_classes + 1 if unet.n_classes else None,
            "use_flash_attention": unet.fused_attention,
        },
        "scheduler": {
            "num_train_timesteps": schedule.train_steps,
            "prediction_type": schedule.prediction,
            "clip_sample": schedule.clip,
            **betas,
        },
        "patch_px": unet.patch_px,
        "size_px": preset.size_px,
        "value_range": preset.value_range,
        "transposed": preset.transpose,
        "classes": preset.classes,
        "preset": preset.model_dump(mode="json", exclude={"name"}),
    }


def write_companions(preset: Preset, model_id: str, name: str) -> dict[str, bytes]:
    """The files beside the weights, by name."""
    config = json.dumps(describe_for_monai(preset), indent=2)
    readme = _README.format(name=name, model_id=model_id) + "    " + SCRIPT.replace("\n", "\n    ").rstrip() + "\n"
    return {"config.json": config.encode(), "README.txt": readme.encode(), "sample.py": SCRIPT.encode()}


def write_zip(files: dict[str, bytes], large_name: str, large_bytes: int, large: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a stored zip, piece by piece; equal for equal files, since its times are fixed.

    Args:
        large_name: the last file, of `large_bytes`, which comes in the pieces of `large` and is never whole in memory.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        entry = zipfile.ZipInfo(large_name)
        entry.file_size = large_bytes  # from which zipfile sees whether it needs the fields of large files
        with archive.open(entry, "w") as written:
            for piece in large:
                written.write(piece)
                yield from sink.take()
    yield from sink.take()


class _Sink:
    """A file that can only be written to; `take` gives what was written since."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep `data`."""
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> list[bytes]:
        """What was written since the last call."""
        written, self._written = self._written, []
        return written
