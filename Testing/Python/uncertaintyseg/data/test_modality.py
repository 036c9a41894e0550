"""CT and MR told apart, on real scans of both."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.data.modality import modality_doubt
from uncertaintyseg.data.phantom import make_phantom
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

CT = (
    "totalsegmentator_examples/images/example_ct.nii.gz",
    "totalsegmentator_examples/aorta_ct/ct_cropped.nii.gz",
    "totalsegmentator_examples/pulmonary_ct/ct_cropped.nii.gz",
    "totalsegmentator_examples/images/example_ct_dicom",
    "msd_spleen_samples/images/sub-spleen2_ct.nii.gz",
)
MR = (
    "totalsegmentator_examples/images/example_mr_sm.nii.gz",
    "msd_hippocampus/images/hippocampus_004.nii.gz",
    "sct_testing_data/images/t1w.nii.gz",
    "sct_testing_data/images/t2.nii.gz",
    "sct_testing_data/images/t2s_uncropped.nii.gz",
)


@pytest.mark.parametrize("scan", CT)
def test_a_ct_is_taken_for_a_ct(shared_data, scan):
    assert modality_doubt(shared_data / scan, "CT") is None
    doubt = modality_doubt(shared_data / scan, "MR")
    assert "the model was trained on MR" in doubt
    assert doubt.startswith("is CT by its DICOM header" if scan.endswith("dicom") else "looks like a CT")


@pytest.mark.parametrize("scan", MR)
def test_an_mr_scan_is_not_taken_for_a_ct(shared_data, scan):
    assert modality_doubt(shared_data / scan, "MR") is None
    assert modality_doubt(shared_data / scan, "CT").startswith("does not look like the CT")


def test_ct_numbers_without_their_intercept_are_doubted(shared_data, tmp_path):
    scan = read_scan(shared_data / CT[0])
    write_volume(tmp_path / "stored.nii.gz", np.clip(scan[0].numpy() + 1024, 0, None), scan.affine.numpy())
    assert "rescale intercept" in modality_doubt(tmp_path / "stored.nii.gz", "CT")


def test_a_phantom_has_hounsfield_units(tmp_path):
    case = make_phantom((0, 0), shape=(24, 24, 12), raters=1)
    write_volume(tmp_path / "phantom.nii.gz", case.image, case.affine)
    assert modality_doubt(tmp_path / "phantom.nii.gz", "CT") is None


def test_who_does_not_know_does_not_doubt(tmp_path):
    assert modality_doubt(tmp_path / "is not even there.nii.gz", None) is None
    with pytest.raises(InputError, match="no such file"):
        modality_doubt(tmp_path / "is not even there.nii.gz", "CT")
