"""The recipe: what preprocessing does, as data that is stored with the set it made and replayed by the classifier."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.preprocess.geometry import Interpolation
from services.preprocess.steps import (
    Balance,
    BiasField,
    Clahe,
    Flips,
    HistogramMatching,
    NearDuplicates,
    Reduction,
    Rotation,
    SizeLimits,
)
from shared.errors import InvalidInput
from shared.texts import Name, Reason
from shared.tumour import Split

DuplicateRule = Literal["within_split", "across_splits", "none"]
SizeRule = Literal["study_square", "pad_square", "none"]
Encoding = Literal["jpeg95", "png"]
RecipeName = Literal["study", "rigorous"]

STUDY_WAIVER = "The published study kept Testing images that occur in Training; this set replays it."


class InvalidRecipe(InvalidInput):
    """The recipe is not one the platform can follow."""


class Recipe(BaseModel):
    """Every choice of the preprocessing, in the order in which it is made; the defaults are the rigorous recipe's."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"duplicates": "within_split", "size_rule": "pad_square", "size_px": 128}]},
    )

    name: Name = Field(default="custom", max_length=64, description="What to call this recipe.")
    duplicates: DuplicateRule = Field(
        default="across_splits",
        description="Which copies are dropped: `within_split` keeps one of each in a split; `across_splits` also sets "
        "aside what occurs in both splits; `none` keeps all and only reports them.",
    )
    near_duplicates: NearDuplicates | None = Field(
        default=NearDuplicates(),
        description="When images that are not equal count as copies, or null for equal images only.",
    )
    leaks: Literal["testing", "training"] = Field(
        default="testing",
        description="Of a scan or a group that occurs in both splits, which side is set aside.",
    )
    label_conflicts: Literal["refuse", "set_aside", "keep"] = Field(
        default="refuse",
        description="Copies that bear different classes: `refuse` stops the job if their pixels are equal and sets "
        "them aside if they are near-duplicates; `set_aside` does that to both; `keep` only reports them.",
    )
    groups: Literal["set_aside", "keep"] = Field(
        default="set_aside",
        description="A group (a patient) with images in both splits: one side is set aside, or all are kept.",
    )
    size_rule: SizeRule = Field(
        default="pad_square",
        description="What becomes of images that are not square: `study_square` drops them (notumor may differ by 10 % "
        "and is then squeezed); `pad_square` keeps all and pads; `none` keeps all and squeezes.",
    )
    size_limits: SizeLimits = Field(default=SizeLimits(), description="Native sizes that are dropped.")
    balance: Balance | None = Field(default=None, description="Equal classes or planes in Training, or null.")
    reduction: Reduction | None = Field(default=None, description="The study's random reduction, or null.")
    planes: bool = Field(default=True, description="Whether the imaging plane of every image is found and recorded.")
    seed: int = Field(default=10, ge=0, lt=2**63, description="Seed of everything that is drawn.")
    draws: Literal["per_image", "study"] = Field(
        default="per_image",
        description="`per_image` draws from the seed and the image's name, whatever the other images are; `study` "
        "draws for one image after the other as the study did (study 2.1, steps 3 and 4).",
    )
    rotation: Rotation | None = Field(default=None, description="Random rotation at native size, or null.")
    flips: Flips | None = Field(default=None, description="Random mirroring, or null.")
    bias_field: BiasField | None = Field(default=None, description="N4 bias field correction, or null for none.")
    clahe: Clahe | None = Field(
        default=Clahe(), description="Local contrast equalisation at native size, or null for none."
    )
    histogram_matching: HistogramMatching | None = Field(default=None, description="Matching of levels, or null.")
    size_px: int = Field(default=256, ge=16, le=1024, description="Side of the square images, pixels.")
    interpolation: Interpolation = Field(
        default="area",
        description="`bilinear` as the study did (aliases when shrinking); `area`, which averages; or `lanczos`, which "
        "is sharper and may ring at edges.",
    )
    normalisation: Literal["none", "unit", "pm1"] = Field(
        default="none",
        description="For later stages, which find it in the manifest: levels 0..255 as they are, or meant to be scaled "
        "to [0, 1] or [-1, 1]. The stored pixels stay 8-bit.",
    )
    encoding: Encoding = Field(default="png", description="`png` keeps every pixel; `jpeg95` is what the study stored.")
    leakage_waiver: Reason | None = Field(
        default=None,
        description="Why sets made by this recipe may be trained on although Testing images leak; null refuses that.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.balance is not None and self.balance.over == "plane" and not self.planes:
            raise ValueError("`balance` over planes needs `planes: true`")
        return self

    @classmethod
    def parse(cls, recipe: "str | dict[str, Any] | Recipe") -> Self:
        """The recipe of this name, or the one that this object describes.

        Raises:
            InvalidRecipe: no such name, or a field that is unknown or out of range.
        """
        if isinstance(recipe, Recipe):
            return cls.model_validate(recipe.model_dump())
        if isinstance(recipe, str):
            if recipe not in NAMED_RECIPES:
                valid = sorted(NAMED_RECIPES)
                raise InvalidRecipe(
                    f"No recipe is called {recipe!r}: use one of {', '.join(valid)}, or an object.", valid=valid
                )
            return cls.model_validate(NAMED_RECIPES[recipe].model_dump())
        try:
            return cls.model_validate(recipe)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the recipe"
            raise InvalidRecipe(f"The recipe's `{where}` cannot be used: {first['msg']}.") from error

    @property
    def extension(self) -> str:
        """The file name ending of this recipe's images, with its dot."""
        return ".jpg" if self.encoding == "jpeg95" else ".png"


NAMED_RECIPES: dict[str, Recipe] = {
    "study": Recipe(
        name="study",
        duplicates="within_split",
        near_duplicates=None,
        label_conflicts="keep",
        groups="keep",
        size_rule="study_square",
        reduction=Reduction(),
        draws="study",
        rotation=Rotation(splits=(Split.TRAINING, Split.TESTING)),
        interpolation="bilinear",
        encoding="jpeg95",
        leakage_waiver=STUDY_WAIVER,
    ),
    "rigorous": Recipe(name="rigorous"),
}
"""`study` replays steps 1 to 8 of study 2.1; `rigorous` looks for copies in both splits and keeps images whole.

Histogram matching is in neither: the study computed it and then saved the image without it (study 2.1, step 6).
"""
