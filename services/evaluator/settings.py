"""The evaluator's own settings, beside those of `shared.settings`."""

from functools import lru_cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EvaluatorSettings(BaseSettings):
    """Read from the environment, prefix `SYNTHMRI_`."""

    model_config = SettingsConfigDict(env_prefix="SYNTHMRI_", extra="ignore")

    allow_unverified_weights: bool = Field(
        False,
        description="Accept library weights of an unknown hash, as tests do; reports that use them say so.",
    )
    weights_max_bytes: int = Field(256 * 1024**2, description="Largest weights file accepted, in bytes.")
    weights_timeout_s: float = Field(30.0, description="Seconds without an answer after which a download is given up.")


@lru_cache
def get_evaluator_settings() -> EvaluatorSettings:
    """The settings of this process."""
    return EvaluatorSettings()
