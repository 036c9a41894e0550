"""Existing labels against what a model makes of their scans: which are most likely wrong, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.label_map import read_mapped_label
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.case_loop import CaseLoop, Here, Progress, in_order
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.existing_label import LabelReview, review_label

ORDERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "excess": lambda row: (-row["excess_error_ml"], -row["expected_error_ml"]),  # of its own label a model expects none
    "error": lambda row: -row["expected_error_ml"],
    "dice": lambda row: 1.0 if row["expected_dice"] is None else row["expected_dice"],
}
"""What a ranking can go by; the least is first."""
_SAMPLES = 2
"""An audit shows no volume interval, so hardly any whole segmentations are drawn for one."""


@dataclass(frozen=True)
class CaseAudit:
    """One audited case.

    Attributes:
        id: of the case.
        scan: `[X, Y, Z]`.
        label: that was audited, in the model's class ids `[X, Y, Z]`; `IGNORED` where it gives no verdict.
        prediction: of the model.
        review: of the label.
        structures: that the label can say anything of; one that it has no file for is not judged.
        unmatched: what it holds beside them.
    """

    id: str
    scan: np.ndarray
    label: np.ndarray
    prediction: Prediction
    review: LabelReview
    structures: list[str]
    unmatched: list[str]


Keep = Callable[[CaseAudit], Any]
"""Told an audited case; returns JSON with arrays."""


def nothing_more(audited: CaseAudit) -> None:
    """Keep nothing of a case but its rows."""


def audit(
    predictor: Predictor,
    cases: Sequence[Case],
    label_map: Mapping[str, str] | None = None,
    *,
    by: str = "excess",
    keep: Keep = nothing_more,
    take: Callable[[str, Any], None] = lambda case, kept: None,
    progress: Progress = lambda stage, fraction: None,
    loop: CaseLoop | None = None,
) -> dict[str, Any]:
    """Rank labels, case by case and structure by structure, by the error that a model sees in them.

    Args:
        predictor: of the model; best one that has not learnt from these labels.
        cases: those without a label are passed over.
        label_map: what the labels' ids stand for (`data.label_map`); by default they are the model's.
        by: a name of `ORDERS`.
        keep: called with each audited case, whose volumes are then let go, where it was made.
        take: called here with the id of each such case and what `keep` returned, in the order of the cases.
        progress: called with the case at work and the fraction done.
        loop: over the cases; by default this process with this predictor.

    Returns:
        The JSON of `uncertaintyseg audit`: `structures` (`wire.LabelledStructure` with case and rank) and `regions`
        (`wire.Region` with case, by expected error), both worst first; `unmatched`: names in the labels that are no
        structure of the model; `ignored_voxels`: how many of a case's have no verdict and count nowhere, where
        there are some; `failed`: messages of the cases that cannot be used; and `died`: ids of those that workers died
        of.

    Raises:
        InputError: when there is no labelled case, or none that can be used.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise InputError("there is no labelled case to audit: DATA needs images/ and labels/, or give --labels.")
    rows, places, failed, died = [], [], {}, []
    unmatched: set[str] = set()
    ignored: dict[str, int] = {}
    work = partial(look_at_label, label_map=dict(label_map or {}), keep=keep)
    loop = Here(predictor) if loop is None else loop
    for outcome in in_order(loop.each(work, labelled, progress), labelled):
        case, found = outcome.item.id, outcome.answer
        if outcome.error is not None:
            failed[case] = outcome.error
            died += [case] if outcome.died else []
            continue
        rows += found["structures"]
        places += found["regions"]
        unmatched |= set(found["unmatched"])
        if found["ignored_voxels"]:
            ignored[case] = found["ignored_voxels"]
        take(case, found["kept"])
    if len(failed) == len(labelled):
        raise InputError(f"none of {len(failed)} labels can be audited. The first: {next(iter(failed.values()))}")
    progress("done", 1.0)
    return {
        "model": predictor.bundle.name,
        "weights_checksum": predictor.bundle.checksum,
        "n": len(labelled) - len(failed),
        "by": by,
        "structures": _ranked(rows, ORDERS[by]),
        "regions": _ranked(places, ORDERS["error"]),
        "unmatched": sorted(unmatched),
        "ignored_voxels": ignored,
        "failed": failed,
        "died": died,
    }


def look_at_label(
    predictor: Predictor, case: Case, _progress: Progress, *, label_map: Mapping[str, str], keep: Keep
) -> dict[str, Any]:
    """The rows of a case, as `audit` puts them together, and what was `kept`: JSON with arrays.

    Raises:
        InputError: scan or label cannot be used.
    """
    audited = audit_case(predictor, case, label_map)
    review, judged, about = audited.review, set(audited.structures), {"case": case.id}
    unit = audited.prediction.measure.unit
    return {
        "structures": [
            {**about, "size_unit": unit, **row.model_dump()} for row in review.structures if row.name in judged
        ],
        "regions": [{**about, **place.model_dump()} for place in review.regions if place.structure in judged],
        "unmatched": list(audited.unmatched),
        "ignored_voxels": int(np.count_nonzero(audited.label == IGNORED)),
        "kept": keep(audited),
    }


def audit_case(predictor: Predictor, case: Case, label_map: Mapping[str, str] | None = None) -> CaseAudit:
    """Run a model on a case and review the label that is there.

    Raises:
        InputError: when scan or label cannot be used.
    """
    scan = first_channel(case.image, len(predictor.bundle.channels))
    ids = {item.name: item.id for item in predictor.bundle.labels}
    mapped = read_mapped_label(case, ids, label_map or {}, like=scan, **predictor.bundle.label_reading)
    label = mapped[0].numpy()
    if (label == IGNORED).all():
        raise InputError(f"{case.label}: none of its voxels has a verdict, so there is nothing to audit.")
    prediction = predictor.predict(case.image, samples=_SAMPLES)
    review = review_prediction(predictor, prediction, label)
    given, unmatched = mapped.meta["structures"], mapped.meta["unmatched"]
    return CaseAudit(case.id, scan[0].numpy(), label, prediction, review, given, unmatched)


def review_prediction(predictor: Predictor, prediction: Prediction, label: np.ndarray) -> LabelReview:
    """Review a label by a prediction that is there already, without running the network again.

    Args:
        predictor: that made it.
        prediction: of the scan that the label belongs to.
        label: in the model's class ids on the scan's grid, `[X, Y, Z]`; what is `IGNORED` there counts nowhere.
    """
    labels, maps = predictor.bundle.labels, prediction.maps
    known, sizes = label != IGNORED, prediction.measure
    names = {item.name: maps[f"probability_{item.name}"] for item in labels}
    return review_label(
        label,
        names,
        labels,
        prediction.affine,
        own=prediction.label,
        valid=maps.get("valid"),
        known=None if known.all() else known,
        clip=sizes.clip,
        voxel_ml=sizes.voxel,
        place_ml=sizes.place,
    )


def _ranked(rows: Sequence[dict[str, Any]], key: Callable[[Mapping[str, Any]], float]) -> list[dict[str, Any]]:
    return [{**row, "rank": rank} for rank, row in enumerate(sorted(rows, key=key), start=1)]
