"""Settings of the preprocess service, read from the environment (prefix `SYNTHMRI_PREPROCESS_`)."""

from functools import lru_cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class PreprocessSettings(BaseSettings):
    """How the work is cut and how many threads share it; neither changes a pixel."""

    model_config = SettingsConfigDict(env_prefix="SYNTHMRI_PREPROCESS_", extra="ignore")

    threads: int = Field(3, ge=1, le=64, description="Images prepared at the same time in one worker.")
    shard_size: int = Field(512, ge=1, le=10_000, description="Images in one shard.")


@lru_cache
def get_preprocess_settings() -> PreprocessSettings:
    """The settings of this process, read once."""
    return PreprocessSettings()
