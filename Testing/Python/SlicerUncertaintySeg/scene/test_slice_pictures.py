"""Pictures of slices: turned as people look at them, whichever way a file is stored."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

ORDERS = {"as RAS": "RAS", "as LPS": "LPS", "slices from head to foot": "RAI", "sagittal": "ASL", "coronal": "LIP"}
RED = {1: (1.0, 0.0, 0.0)}


def stored(folder, order: str):
    """A scan that gets brighter to the left, its label at the front right above, with axes of another order."""
    values = np.zeros((8, 6, 4), np.int16)
    values[:] = (100 - 10 * np.arange(8))[:, None, None]
    label = np.zeros(values.shape, np.uint8)
    label[5:8, 4:6, 2:4] = 1  # right, anterior, superior
    found = {}
    for name, array in (("scan", values), ("label", label)):
        image = nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]))
        onto = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(order))
        found[name] = folder / f"{name}.nii.gz"
        image.as_reoriented(onto).to_filename(found[name])
    return found


@pytest.fixture(params=ORDERS.values(), ids=ORDERS)
def opened(request, host, tmp_path):
    from UncertaintySegLib.scene import nodes, segments

    files = stored(tmp_path, request.param)
    scan = nodes.read_volume(host.scene, files["scan"], "scan")
    return scan, segments.file_ids(scan, files["label"]), request.param


def pictured(opened, across: str, place: int) -> np.ndarray:
    """A slice across right, anterior or superior, its place counted in that direction."""
    from UncertaintySegLib.scene import slice_pictures

    scan, ids, order = opened
    opposite = {"R": "L", "A": "P", "S": "I"}[across]
    along = next(axis for axis, code in enumerate(order) if code in (across, opposite))
    index = place if order[along] == across else scan.GetImageData().GetDimensions()[along] - 1 - place
    return slice_pictures.picture(scan, ids, along, index, RED, 16)


@pytest.mark.parametrize(
    ("across", "place", "shape", "corner"),
    [
        ("S", 3, (12, 16), (slice(0, 4), slice(0, 6))),  # anterior up, right to the left: 6 x 8 mm
        ("A", 5, (16, 16), (slice(0, 8), slice(0, 6))),  # superior up: 8 x 8 mm
        ("R", 7, (16, 12), (slice(0, 8), slice(0, 4))),  # superior up, anterior to the left: 8 x 6 mm
    ],
)
def test_up_is_anterior_or_superior_and_left_is_right_or_anterior(opened, across, place, shape, corner):
    found = pictured(opened, across, place)
    assert found.shape == (*shape, 3)
    red = (found[..., 0] > found[..., 1]) & (found[..., 1] == found[..., 2])
    expected = np.zeros(shape, bool)
    expected[corner] = True
    np.testing.assert_array_equal(red, expected)
    np.testing.assert_array_equal(found[0, corner[1]][0], [255, 0, 0])  # the border is all of its colour
    if across != "R":
        grey = found[-1, :, 0].astype(int)
        assert (np.diff(grey) >= 0).all()  # brighter to the patient's left
        assert grey[-1] > grey[0]


def test_a_slice_that_shows_nothing_is_grey_alone(opened):
    found = pictured(opened, "S", 0)
    np.testing.assert_array_equal(found[..., 0], found[..., 2])
