"""A bundle's train.json: what a fit needs beside the network and its preprocessing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import TRAINING, Bundle, read_config
from uncertaintyseg.training.region_losses import DiceKind

ClassWeights = list[float] | Literal["inverse_frequency"]
"""One a class, the background first, or as 1 / frequency in the training labels."""


class Recipe(BaseModel):
    """Settings of one fit; defaults suit small volumes on a CPU."""

    model_config = ConfigDict(extra="forbid")

    stage: Literal["backbone", "head"]
    initial: str | None = Field(None, description="Model whose backbone and output layer a head starts from.")
    warm_start: bool = Field(False, description="Begin with the model's own weights, all of them, instead.")
    backbone: Literal["frozen", "fine-tuned"] = "fine-tuned"
    backbone_rate: float = Field(
        1.0, gt=0, le=1, description="Learning rate of the backbone that a head is put on, as a share of the head's."
    )
    crop: tuple[int, int, int] = Field(description="Training window in voxels.")
    batch_size: int = Field(2, ge=1)
    epochs: int = Field(10, ge=1, description="At most; a head that is fitted instead of trained has none.")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="An epoch is so many steps, cases drawn with replacement; by default each case once."
    )
    foreground: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Augment a patch of a case and not the whole of it; of each batch this share, rounded, lies on a "
        "structure.",
    )
    deep_supervision: bool = Field(False, description="The inner stages of a backbone are held to the labels too.")
    best: Literal["dice", "nll", "validation_loss"] | None = Field(
        None, description="What chooses the epoch, and ends the fit; by default Dice for a backbone, NLL for a head."
    )
    patience: int = Field(10, ge=1, description="Validations without progress before it stops.")
    validate_every: int = Field(1, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    schedule: Literal["poly", "plateau", "cosine"] = "poly"
    final_learning_rate: float = Field(0.0, ge=0, description='Where "cosine" ends.')
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description='"sgd" has Nesterov momentum 0.99.')
    weight_decay: float = 1e-5
    clip: float | None = Field(None, gt=0, description="Largest norm of the gradient.")
    seed: int = 0
    objective: str | None = None
    estimator: Literal["closed_form", "mc"] | None = None
    samples: int | None = Field(
        None, ge=1, description="Draws of an objective by samples; 5 by default, 20 of the joint likelihoods."
    )
    dice_weight: float = 1.0
    dice: DiceKind | None = Field(None, description="Kind of Dice; soft by default, or what the hybrid objective has.")
    volume_weight: float = Field(0.0, ge=0, description="Of the relative error of the structures' expected volumes.")
    match_volumes: bool = Field(
        False, description="Afterwards give each structure's logit the bias with which validation volumes are right."
    )
    class_weights: ClassWeights | None = Field(
        None, description='Of the hybrid objective\'s Dice, or "inverse_frequency", which is the default.'
    )
    cross_entropy_weights: ClassWeights | None = Field(
        None, description='Of the hybrid objective\'s cross-entropy, or "inverse_frequency"; all alike by default.'
    )
    focal_alpha: ClassWeights | None = Field(
        None, description='Of the hybrid objective\'s focal loss, or "inverse_frequency"; 1 by default.'
    )
    focal_gamma: float = Field(2.0, ge=0, description="Of the hybrid objective's focal loss.")
    rare_labels: list[int] = Field([], description="Classes whose cases (or slices) are drawn more often.")
    rare_weight: float = Field(3.0, gt=0, description="How many times as often.")
    slices: bool = Field(False, description="Train on slices along the last axis, not on volumes.")

    @classmethod
    def load(cls, bundle: Bundle, **changes: Any) -> Recipe:
        """The recipe of a bundle, with some settings changed; None changes nothing.

        Raises:
            BundleError: when train.json is missing, or a field of it is wrong; and for an imported network, whose
                train.json is only what heads on it begin with.
            InputError: for a setting that the others leave nobody to read.
        """
        if bundle.imported:
            raise BundleError(
                f"'{bundle.name}' is an imported network: how it was trained is known where it came from, so it is not "
                "trained here. Train a head on it, which leaves it as it is (uncertaintyseg train "
                f"{bundle.name} DATA --head laplace), or train it there and import it again."
            )
        path = bundle.folder / TRAINING
        try:
            section = read_config(path)["recipe"]
            recipe = cls.model_validate(section | {k: v for k, v in changes.items() if v is not None})
        except KeyError:
            raise BundleError(f"{path} has no 'recipe' section.") from None
        except ValidationError as error:
            first = error.errors()[0]
            raise BundleError(f"{path}: 'recipe.{'.'.join(map(str, first['loc']))}': {first['msg']}.") from error
        recipe.check_read()
        return recipe

    def check_read(self) -> None:
        """Refuse settings that the others leave nobody to read; those of a loss are refused by the loss.

        Raises:
            InputError: names the setting and the one that it needs.
        """
        if "rare_weight" in self.model_fields_set and not self.rare_labels:
            raise InputError(
                "'recipe.rare_weight' says how much oftener rare structures are drawn, and none is named: add "
                "--balance NAME ('recipe.rare_labels'), or leave it out."
            )
        if self.final_learning_rate and self.schedule != "cosine":
            raise InputError(
                f'\'recipe.final_learning_rate\' is where the schedule "cosine" ends, and this is "{self.schedule}": '
                "add --set schedule=cosine, or leave it out (0)."
            )
