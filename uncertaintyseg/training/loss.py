"""The loss that a recipe asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import ClassWeights, Recipe
from uncertaintyseg.training.sampling import checked_weights, class_weights


def make_loss(network: Segmenter, recipe: Recipe, cases: Sequence[dict]) -> HeadLoss:
    """The recipe's loss of a network's output.

    Args:
        network: whose head says what it learns by, where the recipe does not.
        recipe: settings.
        cases: with "label" `[1, *spatial]` each; class weights are counted there.

    Raises:
        InputError: for class weights of another number or of a loss that takes none, or an objective that does not
            exist.
        BundleError: for an objective that the head cannot learn by.
    """
    classes = network.head.classes
    objective = recipe.objective or network.head.objective
    counted: list[float] = []

    def weights(field: str, chosen: ClassWeights | None) -> list[float] | None:
        if chosen != "inverse_frequency":
            return None if chosen is None else checked_weights(chosen, classes, field)
        if not counted:
            counted.extend(class_weights((case["label"] for case in cases), classes))
        return counted

    own_dice = objective == "hybrid" and recipe.dice is None
    dice_weights = recipe.class_weights or ("inverse_frequency" if own_dice else None)
    hybrid: dict[str, Any] = {
        "weights": weights("cross_entropy_weights", recipe.cross_entropy_weights),
        "alpha": weights("focal_alpha", recipe.focal_alpha),
        "gamma": recipe.focal_gamma if "focal_gamma" in recipe.model_fields_set else None,
    }
    return HeadLoss(
        objective,
        recipe.estimator,
        recipe.dice_weight,
        recipe.samples,
        torch.Generator(next(network.parameters()).device).manual_seed(recipe.seed),
        class_weights=weights("class_weights", dice_weights),
        dice=recipe.dice,
        volume_weight=recipe.volume_weight,
        hybrid={name: value for name, value in hybrid.items() if value is not None},
    )
