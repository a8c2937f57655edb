"""The tables `artifacts`, whose rows never change, and `image_annotations`, what people correct about images."""

from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.database import Base


class ArtifactRow(Base):
    """One image set, model or report; the row exists only when its manifest does, and both never change."""

    __tablename__ = "artifacts"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    noun: Mapped[str] = mapped_column(String(12))
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(200))
    owner: Mapped[str] = mapped_column(String(100))
    tumour_class: Mapped[str | None] = mapped_column(String(20))
    job_id: Mapped[str | None] = mapped_column(String(40))
    manifest_sha256: Mapped[str] = mapped_column(String(64))
    summary: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[float] = mapped_column(Float)

    __table_args__ = (Index("ix_artifacts_owner_noun", "owner", "noun", "created_at"),)


class ImageAnnotationRow(Base):
    """What people corrected about one image; None is no correction, `updated_at` is in seconds since 1970."""

    __tablename__ = "image_annotations"

    image_set_id: Mapped[str] = mapped_column(String(40), ForeignKey("artifacts.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(1000), primary_key=True)
    plane: Mapped[str | None] = mapped_column(String(20))
    patient_group: Mapped[str | None] = mapped_column(String(200))
    key_id: Mapped[str] = mapped_column(String(40))
    updated_at: Mapped[float] = mapped_column(Float)
