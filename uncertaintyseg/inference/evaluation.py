"""A model against labelled cases, on the scans' own grids."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from monai.data import MetaTensor

from uncertaintyseg.data.case_labels import IGNORED, read_case_label, read_case_raters
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.splitting import subject_of
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.ellipses import circumferences, mean_circumferences
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.shown import same_patient
from uncertaintyseg.metrics.calibration import BINS, Calibration, brier_score, certainty, negative_log_likelihood
from uncertaintyseg.metrics.cases import case_selection
from uncertaintyseg.metrics.comparing import pooled
from uncertaintyseg.metrics.error_detection import ErrorDetection, best_map
from uncertaintyseg.metrics.intervals import mean_of_defined, mean_with_interval
from uncertaintyseg.metrics.overlap import TOLERANCE_MM, class_averages, confusion_matrix, overlap
from uncertaintyseg.metrics.raters import rater_scores, summary
from uncertaintyseg.metrics.scopes import BOUNDARY_MM, error_scopes
from uncertaintyseg.review.boxes import slabs
from uncertaintyseg.wire import Structure

Progress = Callable[[str, float], None]
Keep = Callable[[Case, Prediction], None]
_MEAN_OF_VOXELS = (negative_log_likelihood, brier_score)
SAMPLES = 16
"""Whole segmentations drawn of a case that several raters drew (METHODS 2.5: at most 20)."""


class Predicting(Protocol):
    """What can be evaluated: a `Predictor`, or anything else that segments scans."""

    bundle: Bundle
    """Its `labels` name the structures."""

    def predict(self, image: Any, /) -> Prediction:
        """Segment one scan."""

    def samples(self, prediction: Prediction, count: int, /) -> Iterable[np.ndarray]:
        """Draw whole segmentations `[*S]` on the scan's grid, of a prediction with a state."""


def evaluate(
    predictor: Predicting,
    cases: Sequence[Case],
    progress: Progress = lambda stage, fraction: None,
    keep: Keep = lambda case, prediction: None,
) -> dict[str, Any]:
    """Overlap, coverage of volume intervals, calibration, error detection by each risk map, several raters, and time.

    Args:
        predictor: of the model.
        cases: of a data set; those with two raters or more also count for `ambiguity`, those without a label are only
            listed.
        progress: called with the case at work and the fraction done.
        keep: called with each case that was scored and its prediction, which is gone afterwards.

    Returns:
        The JSON of `uncertaintyseg evaluate`; docs/metrics.md explains its keys. What is undefined is NaN (null in
        JSON), such as the Dice of a structure that neither label nor reference has. `failed` has the messages of cases
        that cannot be used, because of their scan, their label or a map that holds NaN; no figure has a part of one.

    Raises:
        InputError: when there is no labelled case, or none that can be used.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise InputError("there is no labelled case to evaluate on: DATA needs images/ and labels/ with equal names.")
    ids = {item.name: item.id for item in predictor.bundle.labels}
    bundle = predictor.bundle
    scores = _Scores(ids, bundle.label_reading, len(bundle.channels), bundle.uncertainty.origin or {})
    failed: dict[str, str] = {}
    for number, case in enumerate(labelled):
        progress(case.id, number / len(labelled))
        try:
            start = time.perf_counter()
            prediction = predictor.predict(case.image)
            seconds = time.perf_counter() - start
            drawn = [prediction.label] if prediction.state is None else predictor.samples(prediction, SAMPLES)
            scores.add(case, prediction, drawn, seconds)
        except InputError as error:
            failed[case.id] = str(error)
        else:
            keep(case, prediction)
    if len(failed) == len(labelled):
        case_id, message = next(iter(failed.items()))
        raise InputError(f"none of {len(failed)} cases can be evaluated. The first, case {case_id}: {message}")
    progress("done", 1.0)
    unlabelled = [case.id for case in cases if case.label is None]
    return {**scores.result(), "failed": failed, "unlabelled": unlabelled}


class _Scores:
    """What is known of the cases so far: a row a case, and pooled voxels."""

    def __init__(
        self, ids: Mapping[str, int], reading: Mapping[str, Any], channels: int, origin: Mapping[str, Any]
    ) -> None:
        self.ids, self.reading, self.channels = ids, reading, channels
        self.origin = origin
        self.rows: list[dict[str, Any]] = []
        self.calibration = Calibration(list(ids))
        self.detection = ErrorDetection()
        self.model = ""
        self.unmatched: set[str] = set()

    def add(self, case: Case, prediction: Prediction, drawn: Iterable[np.ndarray], seconds: float) -> None:
        """Score a prediction against the reference and the raters of its case; `drawn` is read only for raters.

        A case that raises `InputError` leaves nothing behind.
        """
        before = copy.deepcopy((self.calibration, self.detection))
        try:
            self._add(case, prediction, drawn, seconds, before[0])
        except InputError:
            self.calibration, self.detection = before
            raise

    def _add(
        self, case: Case, prediction: Prediction, drawn: Iterable[np.ndarray], seconds: float, before: Calibration
    ) -> None:
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
        self.model = prediction.provenance.model
        nll, brier = self._said(prediction, reference, known)
        scopes = error_scopes(scan[0].numpy(), reference, spacing, clip=sizes.clip)
        self.detection.update(*_known(known, voxel_risks(prediction.maps, self.ids), own != reference, scopes))
        structures = {
            name: overlap(own == i, reference == i, spacing, **linked)._asdict() for name, i in self.ids.items()
        }
        entropy, classes = prediction.maps["predictive_entropy"], len(self.ids) + 1
        said = self.calibration.top_label.since(before.top_label)
        self.rows.append(
            {
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
        )
        self.unmatched |= set(label.meta.get("unmatched", ()))

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

    def result(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        rows, top = self.rows, self.calibration.top_label
        detection = self.detection.compute()
        mean_dice = [mean_of_defined(row["dice"].values()) for row in rows]
        return {
            "model": self.model,
            "n": len(rows),
            "structures": {name: self._structure(name) for name in self.ids},
            "classes": _intervals([row["classes"] for row in rows]),
            "circumference": mean_circumferences([row["circumference"] for row in rows]),
            "surface_tolerance_mm": TOLERANCE_MM,
            "nll": float(np.mean([row["nll"] for row in rows])),
            "brier": float(np.mean([row["brier"] for row in rows])),
            "ece": top.expected_error(),
            "mce": top.maximum_error(),
            "ace": top.adaptive_error(),
            "ece_bins": BINS,
            "reliability": top.curve(),
            "certainty": mean_of_defined(row["certainty"] for row in rows),
            "error_detection": detection,
            "boundary_mm": BOUNDARY_MM,
            "best_map": best_map(detection),
            "case_risk_coverage": case_selection([row["score"] for row in rows], mean_dice)._asdict(),
            "pooled": pooled(rows, [subject_of(row["id"]) for row in rows]),
            "ambiguity": summary([row["ambiguity"] for row in rows if row["ambiguity"]]),
            "seconds_per_case": round(float(np.mean([row["seconds"] for row in rows])), 4),
            "unmatched": sorted(self.unmatched),
            "cases": rows,
        }

    def _structure(self, name: str) -> dict[str, Any]:
        """Of one structure over all cases; `missed` and `invented` count where only one side has it."""
        found, event = [row["structures"][name] for row in self.rows], self.calibration.events[name]
        return {
            **_intervals(found),
            "missed": sum(row["relative_volume_error"] == -1 for row in found),
            "invented": sum(math.isnan(row["recall"]) and row["precision"] == 0 for row in found),
            "volume_95_coverage": _share([row["in_volume_95"][name] for row in self.rows]),
            "ece": event.expected_error(),
            "mce": event.maximum_error(),
            "ace": event.adaptive_error(),
            "reliability": event.curve(),
        }


def _intervals(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean over cases and interval of each measure."""
    return {key: mean_with_interval([row[key] for row in rows])._asdict() for key in rows[0]}


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


def _share(answers: Sequence[bool | None]) -> float | None:
    known = [answer for answer in answers if answer is not None]
    return sum(known) / len(known) if known else None


def _probability(structures: Sequence[np.ndarray]) -> np.ndarray:
    """`[C, *S]` with the background first, from the probabilities of the structures."""
    background = np.clip(1 - np.sum(structures, axis=0), 0, 1)
    return np.stack([background, *structures])
