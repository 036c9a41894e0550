"""Whole slices of a scan: those that the server would show a model."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.slices import stored_place, thickest

AFFINES = {
    "cubes": np.diag([1.0, 1.0, 1.0, 1.0]),
    "thick, head first": np.diag([-1.0, 1.0, -3.0, 1.0]),
    "coronal": np.array([[0, 0, -1.0, 50], [1.0, 0, 0, -7], [0, -4.0, 0, 11], [0, 0, 0, 1]])[[0, 2, 1, 3]],
    "sagittal, in another order": np.array([[0, 0, -4.0, 50], [1.5, 0, 0, -7], [0, -1.5, 0, 11], [0, 0, 0, 1]]),
    "cubes, foot to head along i": np.array([[0, 2.0, 0, 0], [0, 0, 2.0, 0], [-2.0, 0, 0, 0], [0, 0, 0, 1]]),
}


@pytest.fixture(params=AFFINES.values(), ids=AFFINES)
def stored(request, tmp_path):
    path = tmp_path / "scan.nii.gz"
    values = np.random.default_rng(0).integers(1, 1000, (7, 8, 9)).astype(np.int16)
    nib.Nifti1Image(values, request.param).to_filename(path)
    return path


def test_they_are_those_of_the_server_and_hold_the_voxels_of_the_file(host, stored):
    import slicer

    from UncertaintySegLib.scene import nodes, whole_slices

    scan, values, read = nodes.read_volume(host.scene, stored, "scan"), nib.load(stored).get_fdata(), read_scan(stored)
    plane = thickest(read)
    along = whole_slices.axis(scan)
    places = [stored_place(read, plane, place) for place in range(values.shape[along])]
    assert {axis for axis, _ in places} == {along}
    array = slicer.util.arrayFromVolume(scan)
    order = slice(None, None, -1) if scan.GetAttribute(nodes.LEFT_HANDED) else slice(None)
    np.testing.assert_array_equal(array[order].T, values)
    for index in (0, 2):
        assert (along, index) in places
        taken = np.zeros(array.shape, bool)
        taken[whole_slices.voxels(scan, along, index)] = True
        expected = np.zeros(values.shape, bool)
        first, last = whole_slices.one(scan, along, index)
        expected[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
        np.testing.assert_array_equal(taken[order].T, expected)
        assert np.flatnonzero(expected.any(tuple({0, 1, 2} - {along}))).tolist() == [index]
    box = ((3, 2, 4), (4, 2, 5))
    first, last = whole_slices.around(scan, box)
    assert (first[along], last[along]) == (box[0][along], box[1][along])
    assert [b - a + 1 for axis, (a, b) in enumerate(zip(first, last, strict=True)) if axis != along] == [
        size for axis, size in enumerate(values.shape) if axis != along
    ]
