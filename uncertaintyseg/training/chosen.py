"""Settings of a recipe that a user chooses for one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.recipe import Recipe

_FIXED = {"stage", "initial", "warm_start", "backbone", "backbone_rate"}
"""What is trained, and from where: other flags ask for it, which know what goes together."""


def chosen_settings(bundle: Bundle, settings: Mapping[str, Any], balance: Sequence[str] = ()) -> dict[str, Any]:
    """Changes of a model's recipe, for `Recipe.load`.

    Args:
        bundle: of the model.
        settings: fields of the recipe by name.
        balance: structures by name whose cases, or slices, are drawn more often (`Recipe.rare_labels`).

    Raises:
        InputError: for a field that recipes do not have or that other flags set, a structure that the model does not
            have, or rare structures that are given in both ways.
    """
    if fixed := sorted(_FIXED & set(settings)):
        raise InputError(f"--set {fixed[0]}: what is trained, and from where, is said by --head and --fine-tune.")
    unknown = sorted(set(settings) - set(Recipe.model_fields))
    if unknown:
        raise InputError(
            f"--set {unknown[0]}: recipes have no such setting; there are {', '.join(Recipe.model_fields)}."
        )
    if balance and "rare_labels" in settings:
        raise InputError("--set rare_labels: --balance says that already; leave out one of the two.")
    ids = {label.name.casefold(): label.id for label in bundle.labels}
    strange = [name for name in balance if name.casefold() not in ids]
    if strange:
        names = ", ".join(label.name for label in bundle.labels)
        raise InputError(f"--balance '{strange[0]}': the structures of '{bundle.name}' are {names}.")
    rare = {"rare_labels": [ids[name.casefold()] for name in balance]} if balance else {}
    return {**settings, **rare}
