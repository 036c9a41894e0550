"""A model against labelled cases, on the scans' own grids."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.layouts import Case, read_case_label
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.metrics.calibration import BINS, CalibrationError, negative_log_likelihood
from uncertaintyseg.metrics.overlap import dice, mean_with_interval
from uncertaintyseg.wire import Structure

Progress = Callable[[str, float], None]


def evaluate(
    predictor: Predictor, cases: Sequence[Case], progress: Progress = lambda stage, fraction: None
) -> dict[str, Any]:
    """Dice of each structure, coverage of the volume intervals, NLL and ECE of the probabilities, time a case.

    Args:
        predictor: of the model.
        cases: labelled cases.
        progress: called with the case at work and the fraction done.

    Returns:
        The JSON of `uncertaintyseg evaluate`. Dice is NaN (null in JSON) for a structure that neither label nor
        reference has.

    Raises:
        InputError: when there is no labelled case, or a scan or label cannot be used.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise InputError("there is no labelled case to evaluate on: DATA needs images/ and labels/ with equal names.")
    ids = {item.name: item.id for item in predictor.bundle.labels}
    calibration, rows = CalibrationError(), []
    for number, case in enumerate(labelled):
        progress(case.id, number / len(labelled))
        start = time.perf_counter()
        prediction = predictor.predict(case.image)
        seconds = time.perf_counter() - start
        reference = read_case_label(case, ids, like=read_scan(case.image))[0].numpy()
        probability = _probability([prediction.maps[f"probability_{name}"] for name in ids])
        calibration.update(probability, reference)
        millilitre = voxel_volume_ml(prediction.affine)
        rows.append(
            {
                "id": case.id,
                "dice": {name: dice(prediction.label == i, reference == i) for name, i in ids.items()},
                "in_volume_95": {
                    row.name: _holds(row, int((reference == row.id).sum()) * millilitre)
                    for row in prediction.structures
                },
                "nll": negative_log_likelihood(probability, reference),
                "score": prediction.case_score,
                "seconds": round(seconds, 4),
            }
        )
    progress("done", 1.0)
    return {
        "model": predictor.bundle.name,
        "n": len(rows),
        "structures": {
            name: {
                "dice": mean_with_interval([row["dice"][name] for row in rows])._asdict(),
                "volume_95_coverage": _share([row["in_volume_95"][name] for row in rows]),
            }
            for name in ids
        },
        "nll": float(np.mean([row["nll"] for row in rows])),
        "ece": calibration.compute(),
        "ece_bins": BINS,
        "seconds_per_case": round(float(np.mean([row["seconds"] for row in rows])), 4),
        "cases": rows,
    }


def _holds(row: Structure, volume_ml: float) -> bool | None:
    """Whether a structure's volume interval holds the reference volume; None without an interval."""
    if row.volume_ml_95 is None:
        return None
    low, high = row.volume_ml_95
    return low <= volume_ml <= high


def _share(answers: Sequence[bool | None]) -> float | None:
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else None


def _probability(structures: Sequence[np.ndarray]) -> np.ndarray:
    """`[C, *S]` with the background first, from the probabilities of the structures."""
    background = np.clip(1 - np.sum(structures, axis=0), 0, 1)
    return np.stack([background, *structures])
