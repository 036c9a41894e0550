"""A scan as this server writes it: the client's values, type and place, and nothing else of the file."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monailabel_app.intake.opening import open_volume
from monailabel_app.intake.scan import write_scan
from Testing.Python.monailabel_app.intake.files import ARRAY, good_files, nifti, write
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.time_axis import SPACING_KNOWN, is_clip, spacing_known
from uncertaintyseg.errors import InputError

ROWS = {"srow_x": [0, 2, 0, 5], "srow_y": [-1.5, 0, 0, 6], "srow_z": [0, 0, 3, 7], "pixdim": [1, 1.5, 2, 3, 1, 1, 1, 1]}


def rewritten(folder, name: str, data: bytes, **about: object):
    path = write(folder, name, data)
    with open_volume(path) as volume:
        return write_scan(volume, folder, "written", about)


def test_an_unknown_spacing_is_that_of_pixels_in_images_and_clips(tmp_path):
    image, unknown = ARRAY[..., :1], {SPACING_KNOWN: False}
    assert not spacing_known(read_scan(rewritten(tmp_path, "a.nii", nifti(array=image), **unknown)))
    for array, about, pixdim, reason in (
        (image, unknown, [1, 0.3, 0.3, 1, 1, 1, 1, 1], "its spacing, 0.3 x 0.3, is said to be unknown"),
        (image, {}, [1, 0.3, 0.3, 1, 1, 1, 1, 1], "its spacing, 0.3 x 0.3, is said to be unknown"),
        (ARRAY, unknown, [1] * 8, "a volume, and an unknown spacing is only of images and of clips"),
    ):
        words = {} if about else {"descrip": b"spacing=unknown"}
        data = nifti(array=array, pixdim=pixdim, sform_code=0, qform_code=0, **words)
        with pytest.raises(InputError, match=reason):
            rewritten(tmp_path, "b.nii", data, **about)
    written = rewritten(tmp_path, "c.nii.gz", gzip.compress(nifti()), **unknown, axis="time")
    assert is_clip(read_scan(written))


@pytest.mark.parametrize("name", good_files())
def test_values_type_and_place_survive(tmp_path, name):
    data = good_files()[name]
    path = rewritten(tmp_path, name, data)
    image = nib.load(path)
    assert image.get_data_dtype() == np.int16
    original = read_scan(tmp_path / name)
    assert np.array_equal(read_scan(path).numpy(), original.numpy())
    assert np.array_equal(read_scan(path).affine, original.affine)
    assert path.name.endswith(".gz") == (name.lower().endswith(".gz") or "packed" in name or ".nrrd" in name)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    code=st.sampled_from(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]),
    slope=st.sampled_from([0, 1, np.nan, 0.25, -2]) | st.floats(2**-10, 1000, width=32),
    inter=st.floats(-1000, 1000, width=32),
    sform=st.integers(0, 2),
    qform=st.integers(0, 2),
    units=st.sampled_from([0, 1, 2, 3, 10]),
)
def test_scale_and_geometry_of_nifti_are_kept_as_they_are(tmp_path, kind, code, slope, inter, sform, qform, units):
    array = np.arange(60).reshape(3, 4, 5).astype(code)
    geometry = {"sform_code": sform, "qform_code": qform, "xyzt_units": units, "quatern_d": 0.5, "qoffset_x": 9, **ROWS}
    data = nifti(kind, array, scl_slope=slope, scl_inter=inter, descrip=b"Patient^Name", **geometry)
    (tmp_path / "written.nii").unlink(missing_ok=True)
    path = rewritten(tmp_path, "scan.nii", data)
    one, other = read_scan(tmp_path / "scan.nii"), read_scan(path)
    assert np.array_equal(one.numpy(), other.numpy())
    assert np.array_equal(one.affine, other.affine)
    assert type(nib.load(path)) is kind
    assert nib.load(path).get_data_dtype() == array.dtype
    assert b"Patient" not in path.read_bytes()


def of(*values: float, dtype: str = "f4") -> bytes:
    return nifti(array=np.array([*values, *range(8)], dtype)[:8].reshape(2, 2, 2))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (of(np.nan, np.inf), "2 voxels are NaN or infinite"),
        (nifti(array=np.full((2, 2, 2), 7, np.int16)), "every voxel is 7"),
        (of(1e300, dtype="f8"), "beyond single precision"),
        (nifti(array=np.zeros((2, 2, 2, 3), np.int16)), "expected one 3D volume"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path, data, word):
    with pytest.raises(InputError, match=word):
        rewritten(tmp_path, "scan.nii", data)
