"""Fine-tuning: the backbone that a head is put on learns with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import TRAINING, Bundle, config_text
from uncertaintyseg.training.recipe import Recipe

BACKBONE_RATE = 0.1
"""Learning rate of the backbone, as a share of the head's: it is trained already, and the head is not."""
_FROZEN = {"backbone": "frozen", "backbone_rate": 1.0}


def fine_tuning(bundle: Bundle, wanted: bool | None, rate: float | None = None) -> dict[str, Any]:
    """Changes of a model's recipe with which its backbone learns together with its head, or stays as it is.

    Args:
        bundle: a head on a trained network.
        wanted: whether it is asked for; None leaves that to the recipe.
        rate: learning rate of the backbone as a share of the head's; `BACKBONE_RATE` by default.

    Raises:
        InputError: where no head is trained, or none whose loss reaches the backbone; and for a rate that is none.
    """
    if rate is not None and not (wanted and 0 < rate <= 1):
        raise InputError("--backbone-rate is a share above 0, up to 1, and belongs to --fine-tune.")
    if wanted is None:
        return {}
    head, flag = HEADS[bundle.head], "--fine-tune" if wanted else "--no-fine-tune"
    if bundle.base:
        if not wanted:
            return {}
        raise InputError(
            f"--fine-tune: '{bundle.name}' adds a head to '{bundle.base.name}', whose network is not its own to train: "
            "leave it out."
        )
    if Recipe.load(bundle).stage == "backbone":
        raise InputError(f"{flag}: all of '{bundle.name}' is trained anyway; it is for a head (--head NAME).")
    if not wanted:
        return _FROZEN
    if head.fitted or not head.reaches_backbone:
        why = "is fitted, not trained" if head.fitted else "reads a network that stays as it is"
        raise InputError(f"--fine-tune: the head '{head.name}' {why}: leave it out.")
    return {"backbone": "fine-tuned", "backbone_rate": BACKBONE_RATE if rate is None else rate}


def keep_in_recipe(bundle: Bundle, changes: Mapping[str, Any]) -> None:
    """Note in a model's train.json what it was trained with, so that it is trained so again."""
    path = bundle.folder / TRAINING
    config = json.loads(path.read_text(encoding="utf-8"))
    if changes.items() <= config["recipe"].items():
        return
    config["recipe"] |= changes
    write_bytes(path, config_text(config).encode())


def check_trained(head: str, given: Mapping[str, Any]) -> None:
    """Refuse settings of a training, by flag, for a head that has none; None is not given.

    Raises:
        InputError: names the first.
    """
    asked = [flag for flag, value in given.items() if value is not None]
    if asked and head in HEADS and HEADS[head].fitted:
        raise InputError(
            f"{asked[0]}: the head '{head}' is fitted to a trained network, without epochs and without an objective: "
            "leave it out."
        )
