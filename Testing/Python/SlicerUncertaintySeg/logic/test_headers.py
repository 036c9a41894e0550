"""How many slices a file has is read from its header, whoever wrote it; a damaged one says nothing."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from UncertaintySegLib.logic.headers import Header, read


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize(("shape", "slices"), [((5, 4, 7), 7), ((5, 4, 1), 1), ((5, 4), 1)])
def test_slices_are_those_of_the_third_axis(tmp_path, ending, shape, slices):
    values = np.zeros(shape[::-1], np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / f"scan.{ending}"), ending != "nii")
    assert read(tmp_path / f"scan.{ending}") == Header(slices)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
def test_a_clip_that_says_so_is_one(tmp_path, kind, order):
    image = kind(np.zeros((5, 4, 7), np.int16), np.eye(4), kind.header_class(endianness=order))
    image.to_filename(tmp_path / "plain.nii")
    image.header["descrip"] = b"axis=time spacing=unknown"
    image.to_filename(tmp_path / "scan.nii")
    assert read(tmp_path / "scan.nii") == Header(7, is_clip=True)
    assert read(tmp_path / "plain.nii") == Header(7)


def test_what_is_no_such_file_says_nothing(tmp_path):
    whole = gzip.compress(bytes(1000))
    for name, content in (
        ("zeros.nii", bytes(600)), ("short.nii", b"x"), ("cut.nii.gz", whole[:-9]), ("text.nii.gz", b"no gzip"),
        ("empty.nrrd", b""), ("other.mha", b"ObjectType = Image\nDimSize = many\n"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name) == Header()
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent.nii")
