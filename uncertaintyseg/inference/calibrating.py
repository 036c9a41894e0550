"""A model against labelled cases that nothing was chosen on: what its error probability is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from uncertaintyseg import __version__
from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.layouts import IGNORED, Case, read_case_label
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import CALIBRATION, Bundle
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.calibration import Calibration, TalliedCase, check_enough, make_calibration
from uncertaintyseg.review.existing_label import label_error
from uncertaintyseg.review.tally import tally

Progress = Callable[[str, float], None]


def calibrate(
    predictor: Predictor,
    cases: Sequence[Case],
    progress: Progress = lambda stage, fraction: None,
    *,
    data: str = "the calibration cases",
) -> Calibration:
    """Predict every case and tally where the label is wrong.

    Args:
        predictor: of the model as it is: without passes, CRF or threshold.
        cases: neither trained nor chosen on, and not picked for their risk; those without a label are left out.
        progress: called with the case at work and the fraction done.
        data: name of the cases, for people.

    Raises:
        InputError: with too few labelled cases, a predictor that runs a method, or a case that cannot be used.
    """
    labelled = [case for case in cases if case.label is not None]
    check_enough(len(labelled))
    tallied = []
    for number, case in enumerate(labelled):
        progress(case.id, number / len(labelled))
        prediction = predictor.predict(case.image, samples=1)
        about = prediction.provenance
        if about.params:
            raise InputError(f"{predictor.title}: a model is calibrated as it is, without {', '.join(about.params)}.")
        tallied.append(_tallied(case, prediction, predictor.bundle))
    progress("done", 1.0)
    return make_calibration(
        tallied,
        weights_checksum=about.weights_checksum,
        window=about.window,
        overlap=about.overlap,
        data=data,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=__version__,
    )


def write_calibration(bundle: Bundle, calibration: Calibration) -> None:
    """Put a calibration beside a bundle's weights, atomically.

    Raises:
        InputError: when it belongs to other weights, or the folder cannot be written.
    """
    if calibration.weights_checksum != bundle.checksum:
        raise InputError(f"{bundle.folder}: its weights changed while it was calibrated; calibrate it again.")
    write_bytes(bundle.folder / CALIBRATION, calibration.model_dump_json().encode())


def _tallied(case: Case, prediction: Prediction, bundle: Bundle) -> TalliedCase:
    ids = {item.name: item.id for item in bundle.labels}
    try:
        label = read_case_label(case, ids, like=read_scan(case.image), ignore=bundle.uncertainty.ignore)
    except InputError as error:
        raise InputError(f"case {case.id}: {error}") from error
    reference = label[0].numpy()
    voxels = int(np.count_nonzero(reference > 0))
    probabilities = {name: prediction.maps[f"probability_{name}"] for name in ids}
    own = label_error(prediction.label, probabilities, bundle.labels)  # not the map, which may be recalibrated already
    wrong, known = prediction.label != reference, reference != IGNORED
    if not known.all():
        own, wrong = own[known], wrong[known]
    return TalliedCase(
        id=case.id,
        tally=tally(own, wrong),
        reference_voxels=voxels,
        reference_ml=voxels * voxel_volume_ml(prediction.affine),
    )
