"""`uncertaintyseg convert`: one volume out of a series, as the file that Slicer shows at the same place."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from Testing.Python.uncertaintyseg.dicom_files import Slice, write_classic
from uncertaintyseg.data.scan import read_scan


def series(folder):
    stored = np.random.default_rng(0).integers(0, 1000, (2, 5, 6, 7))
    slices = [
        Slice(pixels, (10.0, 20.0, 5.0 + 2 * k), said={"TemporalPositionIdentifier": phase})
        for phase, volume in enumerate(stored, 1)
        for k, pixels in enumerate(volume)
    ]
    return write_classic(folder, slices), 2.0 * stored - 1000


def test_one_of_several_volumes_is_taken_by_the_name_in_the_error(command, tmp_path):
    folder, values = series(tmp_path / "series")
    message = command("convert", folder, tmp_path / "out.nii.gz").message
    assert "'temporal position 1' (5 slices), 'temporal position 2' (5 slices)" in message
    assert not (tmp_path / "out.nii.gz").exists()
    said = command("convert", folder, tmp_path / "out.nii.gz", "--volume", "temporal position 2", "--json").json
    assert said == {"file": str(tmp_path / "out.nii.gz"), "shape": [7, 6, 5], "spacing_mm": [0.7, 0.9, 2.0]}
    image = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values[1])
    np.testing.assert_allclose(image.GetOrigin(), (10, 20, 5), atol=1e-5)
    np.testing.assert_array_equal(read_scan(tmp_path / "out.nii.gz")[0].numpy().T, values[1])


def test_people_read_the_size(command, tmp_path):
    folder, _ = series(tmp_path / "series")
    ended = command("convert", folder, tmp_path / "out.nii", "--volume", "temporal position 1")
    assert (ended.code, ended.out) == (0, "")
    assert "7 x 6 x 5 voxels of 0.7 x 0.9 x 2 mm" in " ".join(ended.err.split())
