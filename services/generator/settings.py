"""Settings of the generator's own, beside those that every process shares."""

from functools import lru_cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class GeneratorSettings(BaseSettings):
    """Read from the environment, prefix `SYNTHMRI_`."""

    model_config = SettingsConfigDict(env_prefix="SYNTHMRI_", extra="ignore")

    checkpoint_every_s: float = Field(
        60.0,
        gt=0,
        description="Least seconds between the resume bundles of a training; a killed worker loses the updates since "
        "the last, and a measurement or a sheet that it was at.",
    )
    compile_networks: bool = Field(
        False,
        description="Whether networks are compiled by torch.compile before they train or draw, which pays for hours of "
        "work on a GPU: the first update, and the first batch of each size, takes minutes. Needs a C++ compiler. "
        "Images may differ by rounding from those of a worker without it.",
    )


@lru_cache
def get_generator_settings() -> GeneratorSettings:
    """The settings of this process."""
    return GeneratorSettings()
