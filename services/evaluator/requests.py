"""What requests may say about an audit, and about leaving images out of a set."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.texts import Identifier, ImageName, Name
from shared.tumour import Split, TumourClass


class Check(StrEnum):
    """What an audit looks for."""

    MEMORISATION = "memorisation"
    SHORTCUTS = "shortcuts"
    DIVERSITY = "diversity"
    USEFULNESS = "usefulness"


class AuditRequest(BaseModel):
    """Which images to audit, against which, and for what."""

    model_config = ConfigDict(extra="forbid")

    synthetic: Identifier = Field(description="Id of the image set under test.", examples=["set-0a1b2c3d4e5f60718293"])
    real: Identifier = Field(
        description="Id of the image set that the model was trained on, best with both splits.",
        examples=["set-5f0c2a9be1d24c7d90aa"],
    )
    tumour_class: TumourClass | None = Field(
        default=None,
        alias="class",
        description="Audit images of this class only; by default every class of the synthetic set.",
        examples=["glioma"],
    )
    split: Split = Field(
        default=Split.TRAINING,
        description="The real images that the model has seen. Those of the other split show what fresh real images "
        "look like beside them.",
    )
    checks: list[Check] = Field(
        default=list(Check),
        min_length=1,
        max_length=4,
        description="`memorisation`: copies of real images. `shortcuts`: what tells synthetic from real without a look "
        "at the anatomy. `diversity`: near-duplicates, planes, coverage. `usefulness`: a classifier trained on the "
        "synthetic images and tested on real ones, beside one trained on as many real images.",
        examples=[["memorisation", "shortcuts"]],
    )
    updates: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Updates of each of the six trainings of `usefulness`; 1400 if left out, a minute or two each on "
        "two cores. Fewer are quicker and say less.",
    )
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="Of every random draw; same seed, same report.")
    name: Name | None = Field(default=None, description="What to call the report.")

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if len(set(self.checks)) != len(self.checks):
            raise ValueError("checks names one twice")
        return self


class ExcludeRequest(BaseModel):
    """Which images to leave out: those that a report calls copies, or these."""

    model_config = ConfigDict(extra="forbid")

    report: Identifier | None = Field(
        default=None,
        description="Id of an audit report of this set; the copies that it names are left out.",
        examples=["rep-5f0c2a9be1d24c7d90aa"],
    )
    images: list[ImageName] | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description="Names in the set.",
        examples=[["glioma/glioma_0124.png"]],
    )
    name: Name | None = Field(default=None, description="What to call the new set.")

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if (self.report is None) == (self.images is None):
            raise ValueError("give either report or images")
        return self
