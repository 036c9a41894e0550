"""Pictures of the studies that train a model here."""

from __future__ import annotations

import sys
from contextlib import closing

import numpy as np
import pytest

from monailabel_app.app.datastore import FINAL, StudyDatastore
from monailabel_app.app.labelled import labelled_cases
from monailabel_app.intake.decoded import Decoded
from Testing.Python.uncertaintyseg import flat
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import Bundle


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot limit a process")
def test_a_picture_that_cannot_be_decoded_any_more_does_not_keep_the_others_from_training(tmp_path):
    bundle, studies = Bundle.load(flat.write_flat_bundle(tmp_path / "models")), tmp_path / "studies"
    for seed in range(4):
        flat.write_png(studies / f"case_{seed}.png", flat.frame(seed)[0])
    with closing(StudyDatastore(str(studies), decoded=Decoded(tmp_path / "decoded", 10**9))) as datastore:
        for seed in range(4):
            scan = read_scan(datastore.image_path(f"case_{seed}"))
            write_volume(tmp_path / "label.nii.gz", flat.frame(seed)[1].T[..., None], scan.affine.numpy())
            datastore.save_label(f"case_{seed}", str(tmp_path / "label.nii.gz"), FINAL, {})
        (studies / "case_1.png").write_bytes(b"cut short")
        found = labelled_cases(datastore, bundle, {bundle.name: bundle})
        cases = {case[0]: case[1] for case in (*found.training, *found.validation)}
        assert cases.keys() == {"case_0", "case_2", "case_3"}
        for seed in (0, 2, 3):
            voxels = read_scan(cases[f"case_{seed}"])[0, ..., 0].numpy()
            np.testing.assert_array_equal(voxels, flat.frame(seed)[0].T)
