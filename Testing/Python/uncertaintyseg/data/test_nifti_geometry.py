"""One rule for the place of a NIfTI volume: SimpleITK, Slicer's core and we put every voxel on the same spot."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import slicer
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from uncertaintyseg.data.nifti_geometry import nifti_affine
from uncertaintyseg.errors import InputError

SHAPE = (5, 6, 7)
VOXELS = np.arange(np.prod(SHAPE), dtype=np.uint8).reshape(SHAPE)
SIZE = (1.5, 2.5, 3.5)
MARKS = [(0, 0, 0), (4, 0, 0), (0, 5, 0), (0, 0, 6), (4, 5, 6)]
CODES = range(6)
UNITS = {"unknown": 0, "meter": 1, "mm": 2, "micron": 3, "odd": 7, "mm and ms": 2 | 16, "meter and s": 1 | 8}


def affine(degrees=(0, 0, 20), size=SIZE, origin=(10, 20, 30), flip=(1, 1, 1)):
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * size * flip
    made[:3, 3] = origin
    return made


SFORM, QFORM = affine(), affine((10, 0, 0), origin=(-5, 6, 7))


def sheared(degrees, size=SIZE):
    """The second axis leans towards the first."""
    made, t = affine(size=size), np.deg2rad(degrees)
    made[:3, 1] = made[:3, 1] * np.cos(t) + made[:3, 0] / size[0] * size[1] * np.sin(t)
    return made


def header(sform=SFORM, sform_code=1, qform=QFORM, qform_code=1, kind=nib.Nifti1Header, **fields):
    """A header whose fields are set as they are, however little they fit together; `pixdim` may be given in part."""
    made = kind()
    made.set_data_shape(SHAPE)
    made.set_data_dtype(np.uint8)
    made.set_qform(qform, int(qform_code))
    for row, axis in enumerate("xyz"):
        made[f"srow_{axis}"] = sform[row]
    made["sform_code"] = sform_code
    made["xyzt_units"] = 2
    for index, value in fields.pop("pixdim", {}).items():
        made["pixdim"][index] = value
    for name, value in fields.items():
        made[name] = value
    return made


def saved(path, made):
    made = made.copy()
    made["magic"], made["vox_offset"] = b"n+1", 352
    path.write_bytes(made.binaryblock.ljust(352, b"\0") + VOXELS.tobytes(order="F"))
    return str(path)


def itk_places(path):
    """RAS position of each mark, by SimpleITK."""
    image = sitk.ReadImage(path)
    return np.array([np.array(image.TransformIndexToPhysicalPoint(mark)) * [-1, -1, 1] for mark in MARKS])


def slicer_places(path):
    """The same by Slicer, which turns left-handed volumes over as it reads: the marks are found by their values."""
    scene, node, storage = slicer.vtkMRMLScene(), slicer.vtkMRMLScalarVolumeNode(), None
    scene.AddNode(node)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(path)
    storage.SetCenterImage(False)
    assert storage.ReadData(node)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    array = slicer.util.arrayFromVolume(node).T
    return np.array(
        [matrix.MultiplyPoint([*map(float, np.argwhere(array == VOXELS[mark])[0]), 1.0])[:3] for mark in MARKS]
    )


def our_places(made):
    return (nifti_affine(made) @ np.array([(*mark, 1) for mark in MARKS]).T).T[:, :3]


def assert_same_place(tmp_path, made, *, tolerance=1e-4):
    """Within a part of a voxel's diagonal."""
    path, ours = saved(tmp_path / "scan.nii", made), our_places(made)
    size = np.linalg.norm(nifti_affine(made)[:3, :3])
    np.testing.assert_allclose(ours, itk_places(path), rtol=0, atol=tolerance * size)
    np.testing.assert_allclose(ours, slicer_places(path), rtol=0, atol=tolerance * size)


@pytest.mark.parametrize(("sform_code", "qform_code"), list(itertools.product(CODES, CODES)))
def test_two_forms_that_disagree(tmp_path, sform_code, qform_code):
    made = header(sform_code=sform_code, qform_code=qform_code)
    assert_same_place(tmp_path, made)
    second = header(sform_code=sform_code, qform_code=qform_code, kind=nib.Nifti2Header)  # ITK reads none of these
    np.testing.assert_allclose(nifti_affine(second), nifti_affine(made), atol=1e-5)


@pytest.mark.parametrize(("sform_code", "qform_code"), [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)])
@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_units(tmp_path, units, sform_code, qform_code):
    made = header(sform_code=sform_code, qform_code=qform_code, xyzt_units=units)
    assert_same_place(tmp_path, made)
    factor = {1: 1000.0, 3: 0.001}.get(units % 8, 1.0)
    np.testing.assert_allclose(np.linalg.norm(nifti_affine(made)[:3, :3], axis=0), np.multiply(SIZE, factor), rtol=1e-6)


@pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 1), (2, 1), (4, 2)])
@pytest.mark.parametrize("degrees", [0.001, 0.003, 0.01, 0.1, 2, 30])
def test_a_skewed_sform_gives_way_to_the_qform(tmp_path, degrees, sform_code, qform_code):
    assert_same_place(tmp_path, header(sheared(degrees), sform_code, qform_code=qform_code))


@pytest.mark.parametrize("sform_code", [1, 2, 4])
@pytest.mark.parametrize("degrees", [0.001, 0.003])
def test_skew_by_rounding_is_none(tmp_path, degrees, sform_code):
    assert_same_place(tmp_path, header(sheared(degrees), sform_code, qform_code=0))


@pytest.mark.parametrize("degrees", [0.01, 2, 30])
def test_a_skewed_sform_alone_is_refused_and_both_forms_are_named(tmp_path, degrees):
    made = header(sheared(degrees), 2, qform_code=0)
    with pytest.raises(InputError, match=rf"sform \(code 2\).* at {90 - degrees:g} degrees.*qform \(code 0\)"):
        nifti_affine(made)
    with pytest.raises(RuntimeError, match="orthonormal"):
        itk_places(saved(tmp_path / "scan.nii", made))


@pytest.mark.parametrize("factor", [0.001, 0.5, 1.00001, 1.001, 2])
@pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 0), (1, 1), (3, 0), (3, 1)])
def test_voxel_sizes_are_those_of_pixdim(tmp_path, factor, sform_code, qform_code):
    assert_same_place(tmp_path, header(affine(size=np.multiply(SIZE, factor)), sform_code, qform_code=qform_code))


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("sform_code", [1, 2])
@pytest.mark.parametrize("flip", list(itertools.product([1, -1], repeat=3)))
def test_reflections(tmp_path, flip, sform_code, qform_code):
    made = affine(flip=flip)
    assert_same_place(tmp_path, header(made, sform_code, made, qform_code))
    assert np.sign(np.linalg.det(nifti_affine(header(made, sform_code, made, qform_code)))) == np.prod(flip)


@pytest.mark.parametrize("qfac", [1, -1, 0, 0.3, -0.3, 5, -7, np.nan])
def test_qfac_turns_the_third_axis_where_it_is_negative(tmp_path, qfac):
    assert_same_place(tmp_path, header(sform_code=0, pixdim={0: qfac}))


@pytest.mark.parametrize(
    "quaternion",
    [
        (0, 0, 0), (0, 1, 0), (0, 1.0000004, 0), (0, 1.00001, 0), (0, 1.1, 0), (2, 0, 0), (0.6, 0.8, 0.1),
        (0.9, 0.9, 0.9), (0, 0.9999999, 0), (0, 0.99999994, 0), (0, 0.999999, 0), (0.1, 0.2, 0.3),
        (0.70710677, 0.70710677, 0), (0.70710683, 0.70710683, 0), (0.5, 0.5, 0.5), (0.57735026, 0.57735026, 0.57735026),
    ],
)  # fmt: skip
@pytest.mark.parametrize("qfac", [1, -1])
def test_quaternions_are_rounded_as_itk_rounds_them(tmp_path, quaternion, qfac):
    b, c, d = quaternion
    made = header(sform_code=0, quatern_b=b, quatern_c=c, quatern_d=d, pixdim={0: qfac})
    assert_same_place(tmp_path, made)
    rotation = nifti_affine(made)[:3, :3] / SIZE
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    size=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    flip=st.tuples(*[st.sampled_from([1, -1])] * 3),
    codes=st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)),
    units=st.sampled_from([0, 2, 1, 3]),
)
def test_one_place_stored_in_both_forms(tmp_path_factory, degrees, size, origin, flip, codes, units):
    made = affine(degrees, size, origin, flip)
    made = header(made, codes[0], made, codes[1], xyzt_units=units)
    # single precision: 1e-5 mm of an origin, 1e-3 of a turn by half where ITK takes the qform
    assert_same_place(tmp_path_factory.mktemp("place"), made, tolerance=1e-3)


@pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 0), (1, 1), (0, 1), (2, 2), (0, 0)])
@pytest.mark.parametrize("size", [0, -1.5, np.nan, np.inf])
def test_a_voxel_size_that_is_none_is_refused_and_both_forms_are_named(size, sform_code, qform_code):
    with pytest.raises(
        InputError, match=rf"pixdim holds {size:g}.*sform \(code {sform_code}\).*qform \(code {qform_code}\)"
    ):
        nifti_affine(header(sform_code=sform_code, qform_code=qform_code, pixdim={2: size}))


@pytest.mark.parametrize("field", ["srow_x", "srow_z"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0])
def test_an_sform_without_a_place_gives_way_to_the_qform(tmp_path, field, bad):
    made = header(**{field: [bad] * 4})
    assert_same_place(tmp_path, made)
    made["qform_code"] = 0
    with pytest.raises(InputError, match=r"sform .* qform"):
        nifti_affine(made)


@pytest.mark.parametrize("field", ["quatern_b", "qoffset_y"])
def test_a_qform_that_is_no_number_is_refused(field):
    with pytest.raises(InputError, match=r"sform .* qform"):
        nifti_affine(header(sform_code=0, **{field: np.nan}))


@pytest.mark.parametrize(("sform_code", "qform_code"), [(1, 0), (1, 1), (0, 1), (2, 2)])
def test_where_nibabel_agrees_its_affine_is_kept_to_the_bit(sform_code, qform_code):
    made = affine((3, 2, 1), (0.7, 0.7, 5))
    made = header(made, sform_code, made, qform_code)
    np.testing.assert_array_equal(nifti_affine(made), made.get_best_affine())


def test_where_nibabel_differs_it_is_not_kept():
    made = header(sform_code=2, qform_code=1)
    assert np.abs(nifti_affine(made) - made.get_best_affine()).max() > 1
    np.testing.assert_allclose(nifti_affine(made), QFORM, atol=1e-5)
