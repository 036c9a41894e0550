"""Steps, epochs and validations that fit into the hours there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

VALIDATIONS = 40
"""At most; each keeps the best weights, and a fit that was killed goes on from the last."""
FOR_VALIDATION = 0.15
"""Share of the time that validations take at most; a single one is made however short the time."""
FEWEST_STEPS = 250
"""That a fit should have: a processor takes smaller patches before it has fewer."""
_BETWEEN = 25
"""Steps at least between validations: fewer change too little."""
MOST_STEPS = 250_000
"""nnU-Net's number of steps; more has not been seen to help."""
_SPEED = {"cpu": 20e9, "cuda": 8e12}
"""Multiply-adds a second of a step, where none could be measured: two cores, and a GPU in half precision."""


@dataclass(frozen=True)
class Steps:
    """How long a fit is."""

    steps: int
    per_epoch: int
    epochs: int

    @property
    def whole(self) -> int:
        """Steps of all epochs."""
        return self.per_epoch * self.epochs


def guessed_seconds(multiply_adds: float, device: str) -> float:
    """Of a step that could not be measured here."""
    return multiply_adds / _SPEED[device]


def fit_into(seconds: float, step: float, validation: float, *, steps: int | None = None) -> Steps:
    """As many steps as there is time for, in epochs that end with a validation.

    Args:
        seconds: of the whole fit.
        step: seconds of one step.
        validation: seconds of one validation.
        steps: instead of what there is time for.
    """
    affordable = seconds * FOR_VALIDATION / max(validation, 1e-9)
    count = steps or min(max((seconds - min(affordable, 1) * validation) / step, 1), MOST_STEPS)
    if steps:
        affordable = steps * step * FOR_VALIDATION / max(validation, 1e-9)
    epochs = math.floor(max(min(affordable, count / _BETWEEN, VALIDATIONS), 1))
    if not steps:
        count = min(max((seconds - epochs * validation) / step, _least(epochs)), MOST_STEPS)
    return Steps(round(count), max(round(count / epochs), 1), epochs)


def _least(epochs: int) -> int:
    """Steps that a fit has at least, however short the time."""
    return max(epochs, 10)
