"""Whole segmentations that a model finds plausible, as files to leaf through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uncertaintyseg.data.writing import write_volume

if TYPE_CHECKING:
    from uncertaintyseg.inference.prediction import Prediction
    from uncertaintyseg.inference.predictor import Predictor


def draw_plausible(predictor: Predictor, prediction: Prediction, count: int, seed: int) -> list[np.ndarray]:
    """Draw behind a prediction, the smallest first as a server does; of a model of several paths as many of each.

    Raises:
        InputError: The prediction has no whole shapes; the message says why.
    """
    return sorted(predictor.samples(prediction, count, seed, paths=True), key=np.count_nonzero)


def write_plausible(drawn: list[np.ndarray], prediction: Prediction, folder: Path) -> None:
    """Write `plausible_00.nii.gz` and so on."""
    names = {row.id: row.name for row in prediction.structures}
    for number, label in enumerate(drawn):
        file = folder / f"plausible_{number:02d}.nii.gz"
        write_volume(file, label, prediction.affine, names=names, about=prediction.measure.about)
