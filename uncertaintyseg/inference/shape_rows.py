"""The shape of every structure of a case, of the prediction and of the reference: rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.channels import first_channel
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.ellipses import with_forms
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.review.shape_features import shape_features

COLUMNS = (
    "case", "structure", "of", "size", "size_unit", "pieces", "eccentricity", "elongation", "centroid_x",
    "centroid_y", "centroid_z", "first_i", "first_j", "first_k", "last_i", "last_j", "last_k", "circumference",
    "circumference_lo", "circumference_hi", "length_unit",
)  # fmt: skip
"""Of the table; centroids are RAS in mm, or pixels where the spacing is unknown, boxes are first and last voxel."""
PREDICTION, REFERENCE = "prediction", "reference"


def shape_rows(case: Case, prediction: Prediction, bundle: Bundle) -> list[dict[str, Any]]:
    """Measure a case; a dict of `COLUMNS` a structure and side.

    Raises:
        InputError: for a clip, which has no shape in space.
    """
    rows = []
    ids = {item.name: item.id for item in bundle.labels}
    scan = first_channel(case.image, len(bundle.channels))
    reference = read_case_label(case, ids, like=scan, **bundle.label_reading)[0].numpy()
    sizes = prediction.measure
    around = {row.name: row.ellipse for row in prediction.structures}
    drawn = with_forms(prediction.structures, reference, prediction.affine, sizes)
    true = {row.name: row.ellipse for row in drawn}
    for of, label, ellipses in ((PREDICTION, prediction.label, around), (REFERENCE, reference, true)):
        seen = np.where(reference == IGNORED, 0, label) if IGNORED in reference else label
        for row in shape_features(seen, prediction.affine, bundle.labels, clip=sizes.clip):
            ellipse, box = ellipses.get(row.name), row.box_ijk or ((None,) * 3,) * 2
            values = (
                case.id, row.name, of, round(np.count_nonzero(seen == row.id) * sizes.voxel, 4), sizes.unit,
                row.components, row.eccentricity, row.elongation, *(row.centroid_mm or (None,) * 3), *box[0],
                *box[1], *_around(ellipse), "px" if sizes.unit == "px" else "mm",
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _around(ellipse: Any) -> tuple[float | None, float | None, float | None]:
    if ellipse is None:
        return None, None, None
    low, high = ellipse.circumference_95 or (None, None)
    return ellipse.circumference, low, high
