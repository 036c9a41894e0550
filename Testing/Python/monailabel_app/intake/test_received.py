"""A client's scan is read as the client said, whatever lies elsewhere on the server's machine."""

from __future__ import annotations

import io
import json
import tempfile

from fastapi import UploadFile

from monailabel_app.intake.received import received_scan
from Testing.Python.monailabel_app.intake.files import nifti
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.time_axis import AXIS, TIME, is_clip


def test_nobody_else_says_that_an_upload_is_a_clip(tmp_path, monkeypatch):
    """Whoever may write into the system's folder for temporary files could."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "dataset.json").write_text(json.dumps({AXIS: TIME}))
    for about in ({}, {AXIS: TIME}):
        with received_scan(UploadFile(io.BytesIO(nifti()), filename="a.nii"), about=about) as scan:
            assert is_clip(read_scan(scan.path)) == bool(about)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
