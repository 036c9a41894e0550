"""The figures of one case: what a prediction is worth against the reference and the raters of its scan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from monai.data import MetaTensor

from uncertaintyseg.data.case_labels import IGNORED, read_case_label, read_case_raters
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.case_loop import Predicting
from uncertaintyseg.inference.ellipses import circumferences
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.shown import same_patient
from uncertaintyseg.metrics.calibration import Calibration, brier_score, certainty, negative_log_likelihood
from uncertaintyseg.metrics.error_detection import ErrorDetection
from uncertaintyseg.metrics.overlap import class_averages, confusion_matrix, overlap
from uncertaintyseg.metrics.raters import rater_scores
from uncertaintyseg.metrics.scopes import error_scopes
from uncertaintyseg.review.boxes import slabs
from uncertaintyseg.wire import Structure

Keep = Callable[[Case, Prediction, Bundle], Any]
"""Told a case that was scored, its prediction, which is gone afterwards, and the model; returns JSON with arrays."""
SAMPLES = 16
"""Whole segmentations drawn of a case that several raters drew (METHODS 2.5: at most 20)."""
_MEAN_OF_VOXELS = (negative_log_likelihood, brier_score)


def no_more(case: Case, prediction: Prediction, bundle: Bundle) -> None:
    """Keep nothing of a case but its figures."""


def score_case(
    predictor: Predicting, case: Case, _progress: Callable[[str, float], None], *, keep: Keep = no_more
) -> dict[str, Any]:
    """Predict a case and judge that.

    Args:
        predictor: of the model.
        case: with a label.
        keep: what else is wanted of it.

    Returns:
        JSON with arrays, which adds up with that of others: the `row` of the case, `calibration` and `detection` as
        `Calibration.add` and `ErrorDetection.add` take them, `unmatched` names, `model`, and what was `kept`.

    Raises:
        InputError: scan or label cannot be used.
    """
    start = time.perf_counter()
    prediction = predictor.predict(case.image)
    seconds = time.perf_counter() - start
    drawn = [prediction.label] if prediction.state is None else predictor.samples(prediction, SAMPLES)
    figures = _Figures(predictor.bundle).of(case, prediction, drawn, seconds)
    return {**figures, "kept": keep(case, prediction, predictor.bundle)}


class _Figures:
    """Of one case of a model."""

    def __init__(self, bundle: Bundle) -> None:
        self.ids = {item.name: item.id for item in bundle.labels}
        self.reading, self.channels = bundle.label_reading, len(bundle.channels)
        self.origin = bundle.uncertainty.origin or {}
        self.calibration = Calibration(list(self.ids))
        self.detection = ErrorDetection()

    def of(self, case: Case, prediction: Prediction, drawn: Iterable[np.ndarray], seconds: float) -> dict[str, Any]:
        """Score a prediction against the reference and the raters of its case; `drawn` is read only for raters."""
        scan = first_channel(case.image, self.channels)
        label = read_case_label(case, self.ids, like=scan, **self.reading)
        reference, known, own = label[0].numpy(), None, prediction.label
        if IGNORED in reference:  # nothing is judged there: background on both sides, and no voxel of any mean
            known = reference != IGNORED
            if not known.any():
                raise InputError(f"{case.label}: none of its voxels has a verdict, so there is nothing to judge by.")
            reference, own = np.where(known, reference, 0), np.where(known, own, 0)
        spacing, sizes = spacing_mm(prediction.affine), prediction.measure
        linked: dict[str, Any] = {"clip": sizes.clip, "voxel_ml": sizes.voxel if sizes.unit != "mL" else None}
        nll, brier = self._said(prediction, reference, known)
        scopes = error_scopes(scan[0].numpy(), reference, spacing, clip=sizes.clip)
        self.detection.update(*_known(known, voxel_risks(prediction.maps, self.ids), own != reference, scopes))
        structures = {
            name: overlap(own == i, reference == i, spacing, **linked)._asdict() for name, i in self.ids.items()
        }
        entropy, classes = prediction.maps["predictive_entropy"], len(self.ids) + 1
        said = self.calibration.top_label
        row = {
            "id": case.id,
            "size_unit": sizes.unit,
            "dice": {name: row["dice"] for name, row in structures.items()},
            "structures": structures,
            "classes": class_averages(confusion_matrix(*_known(known, own, reference), classes)),
            "in_volume_95": {
                row.name: _holds(row, int((reference == row.id).sum()) * sizes.voxel) if known is None else None
                for row in prediction.structures
            },
            "circumference": circumferences(
                prediction.structures, None if known is not None else reference, prediction.affine
            ),
            "counts": {name: _counts(own == i, reference == i) for name, i in self.ids.items()},
            "voxels": reference.size if known is None else int(np.count_nonzero(known)),
            "nll": nll,
            "brier": brier,
            "ece": said.expected_error(),
            "bins": said.sums(),
            "certainty": certainty(entropy, reference > 0, classes),
            "ambiguity": _against_raters(case, prediction, drawn, scan, self.ids, self.reading["values"]),
            "score": prediction.case_score,
            "foreground_share": _foreground_share(reference, known),
            "regions": [region.model_dump() for region in prediction.regions],
            "threshold": prediction.threshold and prediction.threshold.value,
            "ignored_voxels": 0 if known is None else int(np.count_nonzero(~known)),
            "seconds": round(seconds, 4),
            **self._same_patient(case, scan),
        }
        return {
            "model": prediction.provenance.model,
            "row": row,
            "calibration": self.calibration.said(),
            "detection": self.detection.said(),
            "unmatched": sorted(label.meta.get("unmatched", ())),
        }

    def _same_patient(self, case: Case, scan: MetaTensor) -> dict[str, bool]:
        """Whether the model was shown slices of this patient; nothing of a model that is shown none."""
        if not self.origin.get("examples"):
            return {}
        return {"same_patient": bool(same_patient(self.origin, case.id, scan.numpy()))}

    def _said(self, prediction: Prediction, reference: np.ndarray, known: np.ndarray | None) -> tuple[float, float]:
        """NLL and Brier score of a case, and its voxels into the calibration: all classes, but few planes at a time."""
        maps, totals = [prediction.maps[f"probability_{name}"] for name in self.ids], np.zeros(2)
        for box in slabs(reference.shape, classes=len(maps) + 1):
            probability, true = _probability([values[box] for values in maps]), reference[box]
            if known is not None:
                probability, true = probability[:, known[box]], true[known[box]]
            if true.size:
                self.calibration.update(probability, true)
                totals += true.size * np.array([measure(probability, true) for measure in _MEAN_OF_VOXELS])
        voxels = reference.size if known is None else np.count_nonzero(known)
        nll, brier = totals / voxels if voxels else np.full(2, np.nan)
        return float(nll), float(brier)


def _counts(label: np.ndarray, reference: np.ndarray) -> dict[str, int]:
    """Voxels of a structure that are in both, in the label alone, and in the reference alone."""
    both, mine, theirs = (int(np.count_nonzero(mask)) for mask in (label & reference, label, reference))
    return {"tp": both, "fp": mine - both, "fn": theirs - both}


def _foreground_share(reference: np.ndarray, known: np.ndarray | None) -> float:
    return np.count_nonzero(reference) / (reference.size if known is None else np.count_nonzero(known))


def voxel_risks(maps: Mapping[str, np.ndarray], structures: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The maps that say where the label may be wrong, so not those of single structures."""
    own = {"valid"} | {f"{kind}_{name}" for kind in ("probability", "variance") for name in structures}
    return {name: values for name, values in maps.items() if name not in own}


def _known(known: np.ndarray | None, *parts: Any) -> Iterator[Any]:
    """What arrays `[*S]`, or mappings of them, hold where something is known: flat; as they are where all is."""
    for part in parts:
        if isinstance(part, Mapping):
            yield dict(zip(part, _known(known, *part.values()), strict=True))
        else:
            yield part if known is None or part is None else part[known]


def _against_raters(
    case: Case,
    prediction: Prediction,
    drawn: Iterable[np.ndarray],
    scan: MetaTensor,
    ids: Mapping[str, int],
    values: Mapping[int, int] | None,
) -> dict[str, float] | None:
    """The row of a case against its raters; None where there are fewer than two."""
    if len(case.raters) < 2:
        return None
    raters = (label[0].numpy() for label in read_case_raters(case, ids, like=scan, values=values))
    intervals = {row.id: row.volume_ml_95 for row in prediction.structures}
    voxel = prediction.measure.voxel
    return rater_scores(drawn, raters, len(ids) + 1, prediction.maps, intervals, voxel)._asdict()


def _holds(row: Structure, volume_ml: float) -> bool | None:
    """Whether a structure's volume interval holds the reference volume; None without an interval."""
    if row.volume_ml_95 is None:
        return None
    low, high = row.volume_ml_95
    return low <= volume_ml <= high


def _probability(structures: Sequence[np.ndarray]) -> np.ndarray:
    """`[C, *S]` with the background first, from the probabilities of the structures."""
    background = np.clip(1 - np.sum(structures, axis=0), 0, 1)
    return np.stack([background, *structures])
