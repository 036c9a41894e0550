"""Versions of a label are what they were saved as."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing

import numpy as np
import pytest

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.app.readings import version_voxels
from uncertaintyseg.data.time_axis import AXIS, TIME
from uncertaintyseg.data.writing import write_volume


def test_nobody_else_says_that_a_version_is_of_a_clip(tmp_path, monkeypatch):
    """Whoever may write into the system's folder for temporary files could."""
    affine, label = np.diag([2.0, 2.0, 5.0, 1.0]), np.ones((4, 4, 3), np.uint8)
    (tmp_path / "studies").mkdir()
    write_volume(tmp_path / "studies" / "a.nii.gz", np.random.default_rng(0).normal(size=(4, 4, 3)), affine)
    write_volume(tmp_path / "label.nii.gz", label, affine)
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary" / "dataset.json").write_text(json.dumps({AXIS: TIME}))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with closing(StudyDatastore(str(tmp_path / "studies"))) as datastore:
        datastore.save_label("a", str(tmp_path / "label.nii.gz"), FINAL, {})
        voxels, _, sizes = version_voxels(datastore, datastore.store.versions("a", FINAL)[-1])
    np.testing.assert_array_equal(voxels, label)
    assert (sizes.unit, sizes.clip) == ("mL", False)
    assert sizes.voxel == pytest.approx(0.02)
