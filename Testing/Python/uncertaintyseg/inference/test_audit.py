"""A label reviewed by a prediction that is there already."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.data.layouts import read_cases, with_labels
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.audit import audit, review_prediction
from uncertaintyseg.inference.predictor import Predictor


def test_the_models_own_label_is_reviewed_as_its_prediction_was(tiny_bundle, scan):
    predictor = Predictor(tiny_bundle("deterministic", 2))
    prediction = predictor.predict(scan)
    review = review_prediction(predictor, prediction, prediction.label)
    assert np.abs(review.error_probability - prediction.maps["error_probability"]).max() < 1e-6
    assert review.regions == prediction.regions
    (row,), (own,) = review.structures, prediction.structures
    assert row.excess_error_ml == 0
    assert (row.volume_ml, row.expected_dice, row.expected_error_ml) == (
        own.volume_ml, own.expected_dice, own.expected_error_ml,
    )  # fmt: skip


def test_every_labelled_case_is_kept_once_and_progress_ends(tiny_bundle, phantoms):
    seen, stages = [], []
    result = audit(
        Predictor(tiny_bundle("deterministic", 3)),
        read_cases(phantoms)[:2],
        keep=lambda audited: seen.append(audited.id),
        progress=lambda stage, fraction: stages.append((stage, fraction)),
    )
    assert seen == ["case_0", "case_1"]
    assert stages == [("case_0", 0), ("case_1", 0.5), ("done", 1)]
    assert {(row["case"], row["name"]) for row in result["structures"]} == {
        (case, name) for case in seen for name in ("organ", "lesion")
    }


def test_without_labels_there_is_nothing_to_audit(tiny_bundle):
    with pytest.raises(InputError, match="no labelled case to audit"):
        audit(Predictor(tiny_bundle()), [])


def test_a_structure_without_a_file_is_not_judged_and_files_of_no_structure_are_named(tiny_bundle, phantoms, tmp_path):
    case = read_cases(phantoms)[0]
    label = read_label(case.label)
    for name, value in (("Organ", 1), ("spleen", 3)):
        write_volume(tmp_path / case.id / f"{name}.nii.gz", (label[0] == value).to(torch.uint8), label.affine)
    result = audit(Predictor(tiny_bundle("deterministic", 3)), with_labels([case], tmp_path))
    assert [row["name"] for row in result["structures"]] == ["organ"]
    assert {place["structure"] for place in result["regions"]} <= {"organ"}
    assert result["unmatched"] == ["spleen"]
