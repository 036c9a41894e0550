"""Calibrations whose truth is known."""

from __future__ import annotations

import numpy as np

from uncertaintyseg.review.calibration import Calibration, CaseCurve

THRESHOLDS = np.linspace(0, 1, 101)


def beta_losses(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Losses `[*shape, 101]` of cases like each other: a t at threshold t, with a drawn from Beta(0.4, 2), mean 1/6."""
    return rng.beta(0.4, 2, shape)[..., None] * THRESHOLDS


def calibration_of(losses: np.ndarray) -> Calibration:
    """A calibration with these losses `[n, 101]`; a case is reviewed to 1 - t of its scan."""
    reviewed = (1 - THRESHOLDS).tolist()
    cases = [
        CaseCurve(id=str(i), reference_ml=1, loss=loss.tolist(), reviewed=reviewed) for i, loss in enumerate(losses)
    ]
    return Calibration(
        weights_checksum="ab", window=(8, 8, 8), overlap=0.5, data="made up", created="", code_version="",
        recalibration=None, thresholds=THRESHOLDS.tolist(), cases=cases,
    )  # fmt: skip
