"""Which corrected slices of the studies a model is shown in place of training (docs/cold_start.md)."""

from __future__ import annotations

from pathlib import Path

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.app.labelled import check_numbers, labelled_cases
from monailabel_app.app.models import Models
from monailabel_app.jobs.shown import Shown
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.result_key import scan_content

CASES = 16
"""So many at most, for no more slices are shown: the scan's own and those that were corrected last."""


def takes_corrected(bundle: Bundle, asked: bool | None) -> bool:
    """Whether a run of a model is shown corrected slices: where somebody asks for it, or it has no examples of its own.

    Args:
        bundle: the model.
        asked: `params.examples`; None: as the model stands.

    Raises:
        InputError: for a model that takes no examples, or has none of its own and shall not have others.
    """
    if bundle.examples is None:
        if asked:
            raise InputError(
                f"params.examples: {bundle.name} has learnt what it knows and takes no examples; leave it out"
            )
        return False
    if asked is False and not bundle.examples:
        raise InputError(f"params.examples: {bundle.name} has no examples of its own; leave it out, or say true")
    return bool(asked) or not bundle.examples


def corrected_slices(
    datastore: StudyDatastore, models: Models, bundle: Bundle, image: str | None, folder: Path
) -> Shown:
    """The final labels of the studies that a model is shown, the image's own before all others.

    Cases that are reserved for calibration are left out, and labels of models of another task.

    Args:
        datastore: has them.
        models: all models by name.
        bundle: the model.
        image: that it runs on; None where that is none of the studies.
        folder: where models that were shown something are kept.

    Raises:
        InputError: there is none, or its numbers could be those of other structures.
    """
    found = labelled_cases(datastore, bundle, models)
    versions = {case[0]: datastore.store.label(case[0], FINAL).version for case in (*found.training, *found.validation)}
    cases = sorted(
        (*found.training, *found.validation), key=lambda case: (case[0] != image, -versions[case[0]].id)
    )[:CASES]  # fmt: skip
    if not cases:
        names = ", ".join(label.name for label in bundle.labels)
        raise InputError(
            f"{bundle.name} is shown what to segment, and nothing is corrected yet: draw {names} in some slices of any "
            "scan and save that as its final label, with the slices as params.verified where the rest was not looked at"
        )
    check_numbers(cases, bundle)
    first = image if cases[0][0] == image else None
    scans = tuple(scan_content(Path(case[1]), bundle) for case in cases)
    return Shown(tuple(cases), scans, tuple(versions[case[0]].sha256 for case in cases), first, str(folder))
