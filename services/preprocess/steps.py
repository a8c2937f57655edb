"""The steps of a recipe, each as data: what it does, its settings with their units, and the images it is for."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.tumour import Split, TumourClass

Splits = Annotated[tuple[Split, ...], Field(min_length=1, description="The splits whose images the step is for.")]
Share = Annotated[float, Field(ge=0, le=1)]
_EVERY_SPLIT = (Split.TRAINING, Split.TESTING)


class Step(BaseModel):
    """A part of a recipe: unknown members are refused, and nothing changes after it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NearDuplicates(Step):
    """When two images that differ in some pixels are taken for one scan; see `near_duplicates`."""

    correlation: float = Field(
        default=0.985,
        ge=0.9,
        le=1,
        description="Least correlation of two 64 x 64 thumbnails. In the Nickparvar data set no image of Testing has "
        "its best match in Training between 0.98 and 0.99, so the count hardly depends on the choice.",
    )
    mirrored: bool = Field(default=True, description="Whether mirror images and half turns count as the same scan.")


class SizeLimits(Step):
    """Which native sizes are accepted, apart from the size rule."""

    min_side_px: int | None = Field(default=None, ge=16, description="Least width and height, pixels.")
    max_aspect: float | None = Field(default=None, ge=1, description="Most that one side may be of the other, a ratio.")


class Balance(Step):
    """Equal numbers of images, by leaving out others at random (of Training only)."""

    over: Literal["class", "plane"] = Field(
        default="class", description="`class` makes the classes equal; `plane` the planes within each class."
    )
    to: int | Literal["least"] = Field(
        default="least", description="Images to keep of each, or `least`: as many as the smallest has."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.to, int) and self.to < 1:
            raise ValueError("`to` is a number of images, 1 or more, or `least`")
        return self


class Reduction(Step):
    """Some classes of Training cut at random to a random number of images, as in step 3 of study 2.1."""

    least: int = Field(default=700, ge=1, description="Least number of images that a class may be cut to.")
    most: int = Field(
        default=900, ge=1, description="Greatest number, inclusive. A class with fewer images stays whole."
    )
    classes: tuple[TumourClass, ...] = Field(
        default=(TumourClass.GLIOMA, TumourClass.MENINGIOMA, TumourClass.PITUITARY), description="The classes to cut."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.least > self.most:
            raise ValueError("`least` is above `most`")
        return self


class Rotation(Step):
    """Some images turned by a whole number of degrees; corners become black (step 4 of study 2.1)."""

    share: Share = Field(default=0.5, description="Share of the images for which an angle is drawn.")
    low_deg: int = Field(default=-10, ge=-180, le=180, description="Least angle, degrees, counter-clockwise.")
    high_deg: int = Field(default=9, ge=-180, le=180, description="Greatest angle, degrees, inclusive; 0 can be drawn.")
    splits: Splits = (Split.TRAINING,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low_deg > self.high_deg:
            raise ValueError("`low_deg` is above `high_deg`")
        return self


class Flips(Step):
    """Some images mirrored.

    Warning: a brain is not symmetric (the heart side of the vessels, the tumour's side), and text burned into an image
    turns unreadable; a classifier usually does not care, a radiologist does.
    """

    horizontal: Share = Field(default=0.5, description="Share of the images mirrored left to right.")
    vertical: Share = Field(default=0.0, description="Share of the images mirrored top to bottom.")
    splits: Splits = (Split.TRAINING,)


class BiasField(Step):
    """Slow brightness drift of the coil removed by N4 (Tustison et al. 2010, doi:10.1109/TMI.2010.2046908)."""

    shrink: int = Field(
        default=4, ge=1, le=16, description="The field is fitted on an image this much smaller per axis."
    )
    iterations: tuple[Annotated[int, Field(ge=1, le=500)], ...] = Field(
        default=(50, 50, 50, 50), min_length=1, max_length=6, description="Most iterations at each fitting level."
    )


class Clahe(Step):
    """Settings of contrast-limited adaptive histogram equalisation."""

    clip_limit: float = Field(
        default=2.0, gt=0, le=100, description="Cut of each tile's histogram, in multiples of its mean."
    )
    tile: int = Field(default=8, ge=1, le=64, description="Tiles along each axis.")


class HistogramMatching(Step):
    """Gray levels mapped so that each image's histogram approaches a mean histogram; see `intensity.match_levels`.

    Warning: a reference `by_class` uses the label of every image, those of Testing too, which flatters a classifier;
    an image to be classified has no label and gets the pooled reference.
    """

    reference: Literal["by_class", "pooled"] = Field(
        default="by_class", description="Images of Training of the same class, or of all classes, make the reference."
    )
    n_images: int = Field(default=100, ge=1, le=10_000, description="Images drawn for each reference.")
    references: dict[str, tuple[float, ...]] | None = Field(
        default=None,
        description="What the images were matched to, filled in by the job: for each class, and for `pooled`, the 256 "
        "cumulative shares of the mean histogram.",
    )

    @field_validator("references")
    @classmethod
    def _check(cls, references: dict[str, tuple[float, ...]] | None) -> dict[str, tuple[float, ...]] | None:
        for shares in (references or {}).values():
            rises = all(0 <= one <= other for one, other in pairwise(shares))
            if len(shares) != 256 or not rises or not abs(shares[-1] - 1) < 1e-6:
                raise ValueError("a reference is 256 shares that rise to 1")
        if references is not None and "pooled" not in references:
            raise ValueError("`pooled` is missing among the references")
        return references
