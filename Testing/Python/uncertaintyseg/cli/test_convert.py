"""`uncertaintyseg convert`: one volume out of a series, as the file that Slicer shows at the same place."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from Testing.Python.uncertaintyseg import flat
from Testing.Python.uncertaintyseg.dicom_files import Slice, write_classic
from uncertaintyseg.data.scan import read_label, read_scan
from uncertaintyseg.data.time_axis import is_clip, spacing_known


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
    assert said == {
        "file": str(tmp_path / "out.nii.gz"),
        "shape": [7, 6, 5],
        "spacing_mm": [0.7, 0.9, 2.0],
        "axis": None,
    }
    image = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values[1])
    np.testing.assert_allclose(image.GetOrigin(), (10, 20, 5), atol=1e-5)
    np.testing.assert_array_equal(read_scan(tmp_path / "out.nii.gz")[0].numpy().T, values[1])


def test_people_read_the_size(command, tmp_path):
    folder, _ = series(tmp_path / "series")
    ended = command("convert", folder, tmp_path / "out.nii", "--volume", "temporal position 1")
    assert (ended.code, ended.out) == (0, "")
    assert "7 x 6 x 5 voxels of 0.7 x 0.9 x 2 mm" in " ".join(ended.err.split())


def test_pictures_become_files_that_say_what_they_are(command, tmp_path):
    flat.write_clip(tmp_path, "clip", [0, 1])
    said = command("convert", tmp_path / "images" / "clip", tmp_path / "out.nii.gz", "--json").json
    assert said == {"file": str(tmp_path / "out.nii.gz"), "shape": [40, 32, 2], "spacing_mm": None, "axis": "time"}
    found = read_scan(tmp_path / "out.nii.gz")
    assert (is_clip(found), spacing_known(found)) == (True, False)
    np.testing.assert_array_equal(found[0, ..., 1].numpy(), flat.frame(1)[0].T)


def test_a_mask_becomes_the_label_that_its_colours_stand_for_on_the_grid_of_its_scan(command, tmp_path):
    values, label = flat.frame(0)
    flat.write_png(tmp_path / "scan.png", values)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    flat.write_png(tmp_path / "mask.png", colours[label])
    (tmp_path / "colours.json").write_text('{"#ff0000": 1}')
    asked = ("convert", tmp_path / "mask.png", tmp_path / "label.nii.gz", "--mask-of", tmp_path / "scan.png")
    assert "#00ff00" in command(*asked).message
    assert not (tmp_path / "label.nii.gz").exists()
    (tmp_path / "colours.json").write_text('{"#ff0000": 1, "#00ff00": 2}')
    assert "40 x 32 x 1 voxels, of which nobody knows the size" in " ".join(command(*asked).err.split())
    found = read_label(tmp_path / "label.nii.gz", [1, 2], like=read_scan(tmp_path / "scan.png"))
    np.testing.assert_array_equal(found[0, ..., 0].numpy(), label.T)
