"""What a model is shown of the studies: named by all that it is, and let go of with a scan that is removed."""

from __future__ import annotations

from dataclasses import replace

import torch

from monailabel_app.jobs.shown import Shown, forget_case
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.imports import import_model


def test_another_scan_of_the_same_id_and_label_is_another_example():
    shown = Shown((("case_0", "scan.nii", "label.nii", (), False),), ("aa",), ("bb",), None, "folder")
    assert replace(shown, scans=("cc",)).key != shown.key
    assert replace(shown, folder="elsewhere").key == shown.key


def test_models_go_with_the_scan_whose_slices_they_hold(tmp_path):
    tiny.write_phantoms(tmp_path / "data", 1, **tiny.COARSE)
    torch.save(UniverSeg((4, 5)).state_dict(), tmp_path / "us.pt")
    place = tmp_path / "shown" / "0123"
    import_model(tmp_path / "us.pt", output=place, name="own", examples=tmp_path / "data", slices=2, patch="16")
    forget_case(tmp_path / "shown", "case_1")
    assert place.is_dir()
    forget_case(tmp_path / "shown", "case_0")
    assert not place.exists()
    forget_case(tmp_path / "nowhere", "case_0")
