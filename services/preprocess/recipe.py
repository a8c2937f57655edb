"""The recipe: what preprocessing does, as data that is stored with the set it made and replayed by the classifier."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.preprocess.geometry import Interpolation
from shared.errors import InvalidInput

DuplicateRule = Literal["within_split", "across_splits", "none"]
SizeRule = Literal["study_square", "pad_square", "none"]
Encoding = Literal["jpeg95", "png"]
RecipeName = Literal["study", "rigorous"]


class InvalidRecipe(InvalidInput):
    """The recipe is not one the platform can follow."""


class Clahe(BaseModel):
    """Settings of contrast-limited adaptive histogram equalisation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clip_limit: float = Field(
        default=2.0, gt=0, le=100, description="Cut of each tile's histogram, in multiples of its mean."
    )
    tile: int = Field(default=8, ge=1, le=64, description="Tiles along each axis.")


class Recipe(BaseModel):
    """Every choice of the preprocessing; the defaults are the rigorous recipe's."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"duplicates": "within_split", "size_rule": "pad_square", "size_px": 128}]},
    )

    name: str = Field(default="custom", min_length=1, max_length=64, description="What to call this recipe.")
    duplicates: DuplicateRule = Field(
        default="across_splits",
        description="Which exact duplicates are dropped: `within_split` keeps one of each in a split; "
        "`across_splits` also drops Testing images that occur in Training; `none` keeps all and only reports them.",
    )
    size_rule: SizeRule = Field(
        default="pad_square",
        description="What becomes of images that are not square: `study_square` drops them (notumor may differ by 10 % "
        "and is then squeezed); `pad_square` keeps all and pads; `none` keeps all and squeezes.",
    )
    clahe: Clahe | None = Field(
        default=Clahe(), description="Local contrast equalisation at native size, or null for none."
    )
    size_px: int = Field(default=256, ge=16, le=1024, description="Side of the square images, pixels.")
    interpolation: Interpolation = Field(
        default="area", description="`bilinear` as the study did (aliases when shrinking), or `area`, which averages."
    )
    encoding: Encoding = Field(default="png", description="`png` keeps every pixel; `jpeg95` is what the study stored.")

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
        size_rule="study_square",
        interpolation="bilinear",
        encoding="jpeg95",
    ),
    "rigorous": Recipe(name="rigorous"),
}
"""`study` replays the study's steps 1, 2, 5, 7 and 8 (study 2.1) without its rotation; `rigorous` keeps more images."""
