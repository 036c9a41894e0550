"""What NIfTI has no field for is kept in it nevertheless: that a third axis is time, and an unknown spacing."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.data.nifti_notes import notes_in
from uncertaintyseg.data.one_file import as_one_file
from uncertaintyseg.data.scan import read_scan, scan_notes
from uncertaintyseg.data.time_axis import Measure, is_clip, spacing_known
from uncertaintyseg.data.writing import write_volume

VALUES = np.arange(60, dtype=np.float32).reshape(5, 4, 3)


@pytest.mark.parametrize(
    "about", [{}, {"axis": "time"}, {"spacing_known": False}, {"axis": "time", "spacing_known": False}]
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_scan_is_read_as_it_was_written(tmp_path, name, about):
    write_volume(tmp_path / name, VALUES, np.diag([2.0, 2.0, 1.0, 1.0]), about=about)
    found = read_scan(tmp_path / name)
    assert (is_clip(found), spacing_known(found)) == ("axis" in about, "spacing_known" not in about)
    assert scan_notes(tmp_path / name) == about
    np.testing.assert_array_equal(found[0].numpy(), VALUES)


def test_what_somebody_else_describes_says_nothing(tmp_path):
    import nibabel as nib

    image = nib.Nifti1Image(VALUES, np.eye(4))
    image.header["descrip"] = b"FSL5.0 time=12:00 axis"
    image.to_filename(tmp_path / "a.nii")
    assert scan_notes(tmp_path / "a.nii") == {}
    assert notes_in(nib.Nifti1Header()) == {}


def test_other_files_have_no_notes(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"nothing")
    (tmp_path / "a.nrrd").write_bytes(b"NRRD")
    assert [scan_notes(tmp_path / name) for name in ("a.nii.gz", "a.nrrd", "none.nii")] == [{}, {}, {}]


def test_a_clip_of_several_files_is_handed_on_as_one_that_says_so(tmp_path):
    from PIL import Image

    (tmp_path / "clip").mkdir()
    for number in range(3):
        Image.fromarray(VALUES[..., number].T.astype(np.uint8)).save(tmp_path / "clip" / f"{number}.png")
    found = read_scan(as_one_file(tmp_path / "clip", "one", tmp_path))
    assert (is_clip(found), spacing_known(found)) == (True, False)
    np.testing.assert_array_equal(found[0].numpy(), VALUES)


@pytest.mark.parametrize(("clip", "known"), [(False, True), (True, True), (False, False), (True, False)])
def test_a_measure_says_what_it_was_made_of(clip, known):
    one = Measure.on(np.eye(4), 4 if clip else 1, clip=clip, known=known)
    assert (is_clip(one.about), spacing_known(one.about)) == (clip, known)
