"""Settings of every process, read from the environment (prefix `SYNTHMRI_`)."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT_SECRET = "synthmri-development-only"  # noqa: S105 refused outside development


class Settings(BaseSettings):
    """Addresses, credentials and limits. The embedded platform fills them in; elsewhere the environment does."""

    model_config = SettingsConfigDict(env_prefix="SYNTHMRI_", extra="ignore")

    environment: Literal["development", "production"] = Field(
        "production", description="`development` accepts the built-in secrets; `production` refuses to start with them."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    data_dir: Path = Field(Path(".synthmri"), description="Where this machine keeps temporary files and embedded data.")

    host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    port: int = Field(8000, description="Port the gateway listens on.")
    preprocess_url: str = Field("http://127.0.0.1:8001", description="Base URL of the preprocess api.")
    generator_url: str = Field("http://127.0.0.1:8002", description="Base URL of the generator api.")
    evaluator_url: str = Field("http://127.0.0.1:8003", description="Base URL of the evaluator api.")
    classifier_url: str = Field("http://127.0.0.1:8004", description="Base URL of the classifier api.")
    internal_token: str = Field(DEVELOPMENT_SECRET, description="Secret that the gateway shows to the services.")

    database_url: str = Field("", description="SQLAlchemy URL; empty means SQLite at <data_dir>/synthmri.db.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Broker of messages and store of rate limits.")
    s3_endpoint: str = Field("127.0.0.1:9000", description="host:port of the object store.")
    s3_access_key: str = Field("synthmri", description="Access key of the object store.")
    s3_secret_key: str = Field(DEVELOPMENT_SECRET, description="Secret key of the object store.")
    s3_bucket: str = Field("synthmri", min_length=3, description="Bucket that holds every object; made if missing.")
    s3_region: str = Field("us-east-1", description="Region of the bucket; servers of one's own take any.")
    s3_secure: bool = Field(False, description="Use TLS to the object store.")

    upload_max_bytes: int = Field(4 * 1024**3, description="Largest upload, bytes as sent.")
    import_max_bytes: int = Field(
        2 * 1024**3, gt=0, description="Largest file of weights that POST /models/import takes, bytes."
    )
    upload_max_unpacked_bytes: int = Field(8 * 1024**3, description="Largest upload, bytes after unpacking.")
    upload_max_entries: int = Field(50_000, description="Most files in one upload.")
    upload_max_ratio: float = Field(100.0, description="Largest unpacked-to-packed ratio of a zip entry.")
    image_max_bytes: int = Field(100 * 1024**2, description="Largest single image file, bytes.")
    scan_max_bytes: int = Field(512 * 1024**2, description="Largest NIfTI volume, bytes, packed and unpacked.")
    image_max_pixels: int = Field(50_000_000, description="Most pixels in one image, checked before decoding.")
    image_min_side_px: int = Field(16, description="Shortest side of an image, pixels.")
    generate_max_n: int = Field(10_000, description="Most images one POST /generate may ask for.")
    rate_limit_per_minute: int = Field(600, description="Requests one API key may make in a minute; 0 means no limit.")

    lease_s: float = Field(30.0, description="How long a worker's claim lasts without a heartbeat, seconds.")
    heartbeat_s: float = Field(5.0, description="How often a worker renews its claim, seconds.")
    stall_s: float = Field(
        1800.0,
        ge=0,
        description="How long the work of a shard may show no sign of progress before its worker ends itself as hung, "
        "seconds, longer than any phase that reports none; 0 means for ever.",
    )
    sweep_s: float = Field(2.0, description="How often the sweeper looks for lost claims and unsent messages, seconds.")
    max_attempts: int = Field(3, description="Claims without lasting progress after which a job fails as poisoned.")
    torch_threads: int | None = Field(
        None, description="CPU threads of the numerical libraries; empty means all cores."
    )

    @model_validator(mode="after")
    def _fill_and_refuse(self) -> Self:
        """Derive the SQLite URL and refuse the built-in secrets outside development."""
        if not self.database_url:
            self.database_url = f"sqlite:///{(self.data_dir / 'synthmri.db').absolute()}"
        if self.environment == "production" and DEVELOPMENT_SECRET in (self.internal_token, self.s3_secret_key):
            raise ValueError(
                "SYNTHMRI_INTERNAL_TOKEN and SYNTHMRI_S3_SECRET_KEY must be set to secrets of your own "
                "(or set SYNTHMRI_ENVIRONMENT=development to try the platform on this machine alone)"
            )
        return self


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
