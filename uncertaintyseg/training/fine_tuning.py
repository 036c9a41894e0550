"""Fine-tuning: the backbone that a head is put on learns with it."""

from __future__ import annotations

from typing import Any

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.recipe import Recipe

BACKBONE_RATE = 0.1
"""Learning rate of the backbone, as a share of the head's: it is trained already, and the head is not."""


def fine_tuning(bundle: Bundle, wanted: bool, rate: float | None = None) -> dict[str, Any]:
    """Changes of a model's recipe with which its backbone learns together with its head; none where not wanted.

    Args:
        bundle: a head on a trained network.
        wanted: whether it is asked for.
        rate: learning rate of the backbone as a share of the head's; `BACKBONE_RATE` by default.

    Raises:
        InputError: where no head is trained, or none whose loss reaches the backbone; and for a rate that is none.
    """
    if rate is not None and not (wanted and 0 < rate <= 1):
        raise InputError("--backbone-rate is a share above 0, up to 1, and belongs to --fine-tune.")
    if not wanted:
        return {}
    head = HEADS[bundle.head]
    if bundle.base:
        raise InputError(
            f"--fine-tune: '{bundle.name}' adds a head to '{bundle.base.name}', whose network is not its own to train: "
            "leave it out."
        )
    if Recipe.load(bundle).stage == "backbone":
        raise InputError(f"--fine-tune: all of '{bundle.name}' is trained anyway; it is for a head (--head NAME).")
    if head.fitted or not head.reaches_backbone:
        why = "is fitted, not trained" if head.fitted else "reads a network that stays as it is"
        raise InputError(f"--fine-tune: the head '{head.name}' {why}: leave it out.")
    return {"backbone": "fine-tuned", "backbone_rate": BACKBONE_RATE if rate is None else rate}
