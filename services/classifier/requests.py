"""What a caller may ask of the classifier service."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.texts import Identifier, Name, Reason
from shared.tumour import TumourClass

PresetName = Literal["study", "vgg19", "vgg19-compact"]
CompositionName = Annotated[Name, Field(max_length=60)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ClassCount(_Request):
    """How many images of one class."""

    real: Annotated[int, Field(ge=0)] | Literal["all"] = Field(0, description="Real images, or `all`.")
    synthetic: int = Field(0, ge=0, description="Synthetic images.")


Composition = dict[TumourClass, ClassCount]


class Mix(_Request):
    """Real and synthetic image sets, and how many images of each class to take from them."""

    real: Identifier = Field(description="Real image set; its Testing images are never trained on.")
    synthetic: list[Identifier] = Field(default_factory=list, max_length=50, description="Synthetic image sets.")
    composition: Composition | None = Field(
        None, description="Images per class; needed with `synthetic`. Without it all real images and no synthetic ones."
    )


class _TrainingChoices(_Request):
    preset: PresetName = Field(
        "vgg19-compact",
        description="`vgg19-compact` trains in a minute on a CPU; `vgg19` and `study` need the vgg19 library weights.",
    )
    epochs: int | None = Field(None, ge=1, le=1000, description="Passes over the data; default: the preset's.")
    batch_size: int | None = Field(None, ge=1, le=512, description="Images per update; default: the preset's.")
    learning_rate: float | None = Field(
        None, gt=0, le=1, allow_inf_nan=False, description="Of Adam; default: the preset's."
    )
    size: int | None = Field(None, ge=32, le=512, description="Side of the network's input, pixels.")
    leakage_waiver: Reason | None = Field(
        None, description="Your reason for using a set whose test images are known to occur in Training."
    )


class TrainRequest(_TrainingChoices):
    """A classifier to train and test."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"train": "set-4f0c2a9be17d5380c6f1", "epochs": 30, "seed": 33}]},
    )

    train: Identifier | Mix = Field(description="An image set, of which all Training images are used, or a mix.")
    test: Identifier | None = Field(
        None, description="Real image set to test on; default: the Testing images of the training set."
    )
    seed: int = Field(33, ge=0, lt=2**31, description="Draws weights, order, augmentation and dropout.")
    name: Name | None = Field(None, description="What to call the model.")


class ScenarioRequest(_TrainingChoices):
    """Classifiers on several compositions and seeds, all tested on the same real images."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "real": "set-4f0c2a9be17d5380c6f1",
                    "synthetic": ["set-91ab03d7e25c48f6a0b2"],
                    "compositions": {
                        "real only": {"glioma": {"real": 50}, "notumor": {"real": 50}},
                        "with synthetic": {"glioma": {"real": 50, "synthetic": 64}, "notumor": {"real": 50}},
                    },
                    "seeds": [33, 66, 99],
                }
            ]
        },
    )

    real: Identifier = Field(description="Real image set; its Testing images are never trained on.")
    synthetic: list[Identifier] = Field(default_factory=list, max_length=50, description="Synthetic image sets.")
    test: Identifier | None = Field(None, description="Real image set to test on; default: Testing images of `real`.")
    scenario: str | None = Field(
        None, max_length=40, description="`1` to `6`, `mini-real`, `mini-mixed` or `all`: the study's compositions."
    )
    compositions: dict[CompositionName, Composition] | None = Field(
        None, min_length=1, max_length=50, description="Compositions of your own; the first one is compared to."
    )
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        default_factory=lambda: [33, 66, 99], min_length=1, max_length=50, description="One classifier per seed."
    )
    updates: Literal["equal", "epochs"] = Field(
        "equal",
        description="`equal`: every composition gets the optimizer updates of the largest; `epochs`: as the study did.",
    )
    name: Name | None = Field(None, description="What to call the report.")
