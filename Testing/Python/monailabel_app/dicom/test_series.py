"""Headers of a series: slice order, the grid in space, and what cannot be a volume."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monailabel_app.dicom.series import is_uid, read_series
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, rotation, write_series
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError

angle, spacing, place = st.floats(-180, 180), st.floats(0.2, 5), st.floats(-500, 500)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(turn=st.tuples(angle, angle, angle), mm=st.tuples(spacing, spacing, spacing), origin=st.tuples(*[place] * 3))
def test_the_grid_is_the_scans(tmp_path_factory, turn, mm, origin):
    folder, affine = tmp_path_factory.mktemp("s"), make_affine(mm, origin, rotation(*turn))
    values = np.arange(5 * 4 * 3, dtype=float).reshape(5, 4, 3)
    write_series(folder, values, affine, shuffle=1)
    series, scan = read_series(folder), read_scan(folder)
    assert series.shape == tuple(scan.shape[1:]) == (5, 4, 3)
    np.testing.assert_allclose(series.affine, affine, atol=1e-5)
    np.testing.assert_allclose(series.affine, scan.affine.numpy(), atol=1e-5)
    assert np.array_equal(scan[0].numpy(), values)


@pytest.mark.parametrize("options", [{}, {"reverse": True}, {"shuffle": 3}, {"slope": 2.0, "intercept": -10.0}])
def test_slices_are_in_the_order_of_space_whatever_their_names(tmp_path, options):
    values = np.arange(4 * 3 * 6, dtype=float).reshape(4, 3, 6) * 2
    write_series(tmp_path, values, make_affine((1, 1, 2), (0, 0, 50)), **options)
    series = read_series(tmp_path)
    positions = [float(header.ImagePositionPatient[2]) for header in series.headers]
    assert positions == sorted(positions)
    assert np.array_equal(read_scan(tmp_path)[0].numpy(), values)


@pytest.mark.parametrize("flip", [(), (0,), (2,), (0, 1, 2)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_volume_in_any_axis_order_lands_on_its_slices(series_folder, order, flip):
    series = read_series(series_folder)
    values = np.arange(np.prod(series.shape), dtype=np.uint16).reshape(series.shape)
    affine = series.affine @ np.eye(4)[:, [*order, 3]]
    turned = values.transpose(order)
    for axis in flip:
        affine = affine.copy()
        affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
        affine[:3, axis] *= -1
        turned = np.flip(turned, axis)
    assert np.array_equal(series.frames(turned, affine, "it"), values.transpose(2, 1, 0))


@pytest.mark.parametrize("change", ["shift", "crop", "scale"])
def test_a_volume_on_another_grid_is_refused(series_folder, change):
    series = read_series(series_folder)
    values, affine = np.zeros(series.shape), series.affine.copy()
    if change == "shift":
        affine[:3, 3] += affine[:3, 0]
    elif change == "crop":
        values = values[1:]
    else:
        affine[:3, 0] *= 1.1
    with pytest.raises(InputError, match="the map: its grid"):
        series.frames(values, affine, "the map")


def test_a_tilted_gantry_is_refused(tmp_path):
    write_series(tmp_path, np.zeros((4, 4, 5)), make_affine((1, 1, 2)), tilt_mm=0.3)
    with pytest.raises(InputError, match="tilted"):
        read_series(tmp_path)


def test_a_missing_slice_is_refused(tmp_path):
    write_series(tmp_path, np.zeros((4, 4, 6)), make_affine((1, 1, 2)))
    (tmp_path / "0002.dcm").unlink()
    with pytest.raises(InputError, match="missing or doubled"):
        read_series(tmp_path)


def test_two_series_in_one_folder_are_refused(tmp_path):
    for name in "ab":
        write_series(tmp_path / name, np.zeros((4, 4, 3)), make_affine())
        for path in (tmp_path / name).iterdir():
            shutil.copy(path, tmp_path / f"{name}{path.name}")
        shutil.rmtree(tmp_path / name)
    with pytest.raises(InputError, match="differ in StudyInstanceUID"):
        read_series(tmp_path)


@pytest.mark.parametrize("name", ["FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing"])
def test_slices_without_a_place_are_refused(tmp_path, name):
    write_series(tmp_path, np.zeros((4, 4, 3)), make_affine())
    for path in tmp_path.iterdir():
        slice_ = pydicom.dcmread(path)
        delattr(slice_, name)
        slice_.save_as(path)
    with pytest.raises(InputError, match=name):
        read_series(tmp_path)


def test_a_file_that_is_no_dicom_is_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"no")
    with pytest.raises(InputError, match=r"a\.dcm: not a DICOM file"):
        read_series(tmp_path)


@pytest.mark.parametrize("text", ["", "1", "1..2", "../1.2", "1.2/3", "1.2\n", "1." * 40 + "1", "a.b"])
def test_what_is_no_uid_is_no_file_name(text):
    assert not is_uid(text)
