"""The presets there are; what their fields mean is said in `preset`."""

from typing import Final

from services.generator.models.preset import Preset, ScheduleConfig, UNetConfig
from shared.errors import InvalidInput
from shared.tumour import TumourClass


class PresetUnknown(InvalidInput):
    """No preset of this name."""


# Every constant of `study` is the published study's (its notebooks, MONAI 1.3.0); 18,500,993 parameters, no EMA.
STUDY: Final = Preset(
    name="study",
    unet=UNetConfig(channels=(128, 256, 256), attention_levels=(False, True, True), head_channels=128),
    size_px=128,
    resize="bilinear",
    jpeg_quality=95,
    transpose=True,
    balanced_classes=(TumourClass.GLIOMA, TumourClass.MENINGIOMA, TumourClass.PITUITARY),
    validation_share=0.2,
    sample_every=10,
    precision="float16",
    value_range=(0.0, 1.0),
    learning_rate=2.5e-5,
    batch_size=16,
    epochs=750,
    ema_decay=None,
    sampler="ddpm",
    sampler_steps=1000,
)

# The study's network with what the field has learned since, each with its source where it is computed.
RIGOROUS: Final = Preset(
    name="rigorous",
    unet=UNetConfig(
        channels=(128, 256, 256), attention_levels=(False, True, True), head_channels=128, fused_attention=True
    ),
    schedule=ScheduleConfig(betas="cosine", prediction="v_prediction"),
    size_px=128,
    validation_share=0.1,
    sample_every=50,
    rotation_deg=10.0,
    loss_weighting="min_snr",
    gradient_clip=1.0,
    learning_rate=1e-4,
    warmup_updates=500,
    cooldown_share=0.2,
    batch_size=16,
    epochs=750,
    ema_decay=0.9995,
    sampler="dpm++",
    sampler_steps=25,
)

# Patches follow Hoogeboom et al. 2023, "simple diffusion" (arXiv:2301.11093), section 3.3: 2 x 2 of them make an update
# three to five times cheaper.
COMPACT: Final = RIGOROUS.model_copy(
    update={
        "name": "compact",
        "unet": UNetConfig(
            channels=(48, 96, 128, 144),
            attention_levels=(False, False, False, True),
            head_channels=48,
            norm_groups=16,
            patch_px=2,
            fused_attention=True,
        ),
        "learning_rate": 4e-4,
        "warmup_updates": 200,
        "batch_size": 32,
        "epochs": 300,
        "ema_decay": 0.999,
    }
)

# For a first try on a CPU. After a short training v gives smooth images, eps grainy ones.
TINY: Final = Preset(
    name="tiny",
    unet=UNetConfig(
        channels=(32, 64, 64), attention_levels=(False, False, True), head_channels=32, norm_groups=16, patch_px=2
    ),
    size_px=64,
    schedule=ScheduleConfig(prediction="v_prediction"),
    sample_every=50,
    warmup_updates=50,
    cooldown_share=0.4,
    learning_rate=1.5e-3,
    batch_size=16,
    epochs=250,
    ema_decay=0.99,
)

TINY_32: Final = TINY.model_copy(
    update={"name": "tiny-32", "size_px": 32, "unet": TINY.unet.model_copy(update={"patch_px": 1})}
)

PRESETS: Final[dict[str, Preset]] = {preset.name: preset for preset in (STUDY, RIGOROUS, COMPACT, TINY, TINY_32)}


DEFAULT_PRESET: Final = TINY.name


def find_preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        PresetUnknown: there is none; the sentence lists those there are.
    """
    if name not in PRESETS:
        raise PresetUnknown(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.", valid=list(PRESETS))
    return PRESETS[name]
