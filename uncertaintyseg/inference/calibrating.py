"""A model against labelled cases that nothing was chosen on: what its error probability is worth."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from uncertaintyseg import __version__
from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import CALIBRATION, Bundle
from uncertaintyseg.inference.case_loop import CaseLoop, Here, Progress, in_order
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.calibration import MEASURE, Calibration, TalliedCase, check_enough, make_calibration
from uncertaintyseg.review.existing_label import label_error
from uncertaintyseg.review.tally import Tally, fine_edges, tally
from uncertaintyseg.wire import Provenance
from uncertaintyseg.workers import Outcome


def calibrate(
    predictor: Predictor,
    cases: Sequence[Case],
    progress: Progress = lambda stage, fraction: None,
    *,
    data: str = "the calibration cases",
    by: str = MEASURE,
    loop: CaseLoop | None = None,
) -> Calibration:
    """Predict every case and tally where the label is wrong.

    Args:
        predictor: of the model as it is: without passes, CRF or threshold.
        cases: neither trained nor chosen on, and not picked for their risk; those without a label are left out.
        progress: called with the case at work and the fraction done.
        data: name of the cases, for people.
        by: the map that drives, one of `predictor.drivers`. It must not be chosen on these cases (`choosing`).
        loop: over the cases; by default this process with this predictor.

    Raises:
        InputError: with too few labelled cases, a predictor that runs a method, a map that the model does not have or
            that ranks nothing, or a case that cannot be used.
    """
    labelled = [case for case in cases if case.label is not None]
    check_enough(len(labelled))
    if by not in predictor.drivers:
        raise InputError(f"{predictor.title} has no map '{by}' to drive; it has {', '.join(predictor.drivers)}.")
    loop = Here(predictor) if loop is None else loop
    outcomes = list(in_order(loop.each(partial(tally_case, by=by), labelled, progress), labelled))
    check_all_used(outcomes)
    answers = [outcome.answer for outcome in outcomes]
    about = answers[0]["about"]
    progress("done", 1.0)
    return make_calibration(
        [_read_tally(answer) for answer in answers],
        measure=by,
        limits=about["limits"],
        weights_checksum=about["weights_checksum"],
        window=about["window"],
        overlap=about["overlap"],
        data=data,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=__version__,
    )


def tally_case(predictor: Predictor, case: Case, _progress: Progress, *, by: str) -> dict[str, Any]:
    """What a calibration needs of a case: JSON with arrays.

    Raises:
        InputError: the case cannot be used, or something runs around the model.
    """
    prediction = predictor.predict(case.image, samples=1)
    about = check_as_it_is(predictor, prediction)
    limits = (0.0, 1.0) if by == MEASURE else prediction.map_info[by].range
    found = judged(case, prediction, predictor.bundle, {MEASURE, by})
    own = tally(found.risks[MEASURE], found.wrong)
    driven = own if by == MEASURE else tally(found.risks[by], found.wrong, fine_edges(limits))
    return {
        "id": found.id,
        "tally": list(driven),
        "own": None if by == MEASURE else list(own),
        "reference_voxels": found.reference_voxels,
        "reference_ml": found.reference_ml,
        "about": {
            "limits": list(limits),
            "weights_checksum": about.weights_checksum,
            "window": list(about.window),
            "overlap": about.overlap,
        },
    }


def check_all_used(outcomes: Sequence[Outcome]) -> None:
    """Raise `InputError` with the first message where cases cannot be used, and the names of the others."""
    failed = {outcome.item.id: outcome.error for outcome in outcomes if outcome.error is not None}
    if failed:
        (first, message), *others = failed.items()
        more = f" Nor can {len(others)} more be used: {', '.join(case for case, _ in others[:10])}." if others else ""
        named = message if first in message else f"case {first}: {message}"
        raise InputError(f"{named}{more}")


def check_as_it_is(predictor: Predictor, prediction: Prediction) -> Provenance:
    """How a prediction was made. Raises `InputError` where something runs around the model."""
    about = prediction.provenance
    if about.params:
        raise InputError(f"{predictor.title}: a model is calibrated as it is, without {', '.join(about.params)}.")
    return about


def write_calibration(bundle: Bundle, calibration: Calibration) -> None:
    """Put a calibration beside a bundle's weights, atomically.

    Raises:
        InputError: when it belongs to other weights, or the folder cannot be written.
    """
    if calibration.weights_checksum != bundle.checksum:
        raise InputError(f"{bundle.folder}: its weights changed while it was calibrated; calibrate it again.")
    write_bytes(bundle.folder / CALIBRATION, calibration.model_dump_json().encode())


class Judged(NamedTuple):
    """A prediction of a labelled case, where the reference says what is right.

    Attributes:
        id: of the case.
        risks: every map of the scan that ranks voxels by name, `[*]`; `error_probability` is the model's own.
        wrong: bool `[*]`.
        reference_voxels: of all structures.
        reference_ml: their volume.
    """

    id: str
    risks: dict[str, np.ndarray]
    wrong: np.ndarray
    reference_voxels: int
    reference_ml: float


def judged(case: Case, prediction: Prediction, bundle: Bundle, drivers: Collection[str]) -> Judged:
    """Compare a prediction with its case's label.

    Raises:
        InputError: for a label that cannot be used.
    """
    ids = {item.name: item.id for item in bundle.labels}
    try:
        scan = first_channel(case.image, len(bundle.channels))
        label = read_case_label(case, ids, like=scan, **bundle.label_reading)
    except InputError as error:
        raise InputError(f"case {case.id}: {error}") from error
    reference = label[0].numpy()
    voxels = int(np.count_nonzero(reference > 0))
    probabilities = {name: prediction.maps[f"probability_{name}"] for name in ids}
    own = label_error(prediction.label, probabilities, bundle.labels)  # not the map, which may be recalibrated already
    risks = {name: own if name == MEASURE else prediction.maps[name] for name in drivers}
    wrong, known = prediction.label != reference, reference != IGNORED
    if not known.any():
        raise InputError(f"case {case.id}: none of the voxels of {case.label} has a verdict: leave the case out.")
    if not known.all():
        risks, wrong = {name: risk[known] for name, risk in risks.items()}, wrong[known]
    return Judged(case.id, risks, wrong, voxels, voxels * prediction.measure.voxel)


def _read_tally(answer: Mapping[str, Any]) -> TalliedCase:
    own = answer["own"]
    return TalliedCase(
        id=answer["id"],
        tally=Tally(*answer["tally"]),
        reference_voxels=answer["reference_voxels"],
        reference_ml=answer["reference_ml"],
        own=None if own is None else Tally(*own),
    )
