"""Volumes as pictures: whichever way they are stored, a slice is the same picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.images import plane
from uncertaintyseg.data.viewed import AsViewedd
from uncertaintyseg.errors import InputError

RAS = np.diag([2.0, 2.0, 5.0, 1.0])
VALUES = torch.arange(4 * 5 * 6, dtype=torch.float32).reshape(1, 4, 5, 6)


def viewed(values: torch.Tensor, affine: np.ndarray, name: str | None = None, key: str = "image", **meta) -> MetaTensor:
    scan = MetaTensor(values, affine=torch.from_numpy(affine), meta=meta)
    return AsViewedd(name)({key: scan})[key]


def test_an_axial_slice_has_the_patients_right_on_its_left_and_the_nose_on_top():
    found = viewed(VALUES, RAS, "axial")
    assert torch.equal(found.as_tensor(), VALUES.flip(1, 2))  # columns to the left, rows to the back
    np.testing.assert_allclose(np.asarray(found.affine) @ [0, 0, 0, 1], [6, 8, 0, 1])


def test_the_other_planes_have_the_head_on_top():
    coronal, sagittal = (
        viewed(VALUES[..., :3], RAS[[0, 1, 2, 3]], "coronal"),
        viewed(VALUES, np.diag([2.0] * 3 + [1.0]), "sagittal"),
    )
    assert coronal.shape[3] == 5
    # columns to the back, rows down, slices to the left
    assert torch.equal(sagittal.as_tensor(), VALUES.permute(0, 2, 3, 1).flip(1, 2, 3))


def test_any_orientation_gives_the_same_slices():
    turned = VALUES.permute(0, 3, 1, 2).flip(2)
    affine = np.array([[0, -2.0, 0, 6], [0, 0, 2.0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    one, two = viewed(VALUES, RAS, "axial"), viewed(turned, affine, "axial")
    assert torch.equal(one.as_tensor(), two.as_tensor())
    np.testing.assert_allclose(one.affine, two.affine)


def test_without_a_plane_it_is_that_of_the_thickest_slices():
    assert viewed(VALUES, np.diag([5.0, 2.0, 2.0, 1.0])).shape == (1, 5, 6, 4)  # sagittal
    assert viewed(VALUES, RAS).shape == (1, 4, 5, 6)


def test_pixels_become_square_by_their_shorter_side_and_stay_where_they_are():
    ramp = torch.arange(6.0)[None, None, None, :].expand(1, 4, 5, 6)
    found = viewed(ramp, np.diag([2.0, 2.0, 6.0, 1.0]), "coronal")
    assert found.shape == (1, 4, 18, 5)
    there = np.asarray(found.affine) @ [0, 9, 0, 1]
    assert float(found[0, 0, 9, 0]) == pytest.approx(there[2] / 6, abs=1e-5)
    label = viewed(ramp.to(torch.int64), np.diag([2.0, 2.0, 6.0, 1.0]), "coronal", "label")
    assert label.unique().tolist() == [0, 1, 2, 3, 4, 5]


def test_images_and_clips_have_their_slices():
    picture = viewed(VALUES[..., :1], plane())
    assert torch.equal(picture.as_tensor(), VALUES[..., :1])
    clip = viewed(VALUES, plane(), axis="time")
    assert torch.equal(clip.as_tensor(), VALUES)


def test_another_plane_is_refused():
    with pytest.raises(InputError, match="the plane 'oblique' is unknown; choose sagittal, coronal, axial"):
        AsViewedd("oblique")


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
def test_it_says_beforehand_how_many_pixels_a_scan_will_have(name):
    scan = MetaTensor(VALUES, affine=torch.from_numpy(RAS))
    view = AsViewedd("axial")
    with view.along(name):
        assert (1, *view.shape(scan)) == viewed(VALUES, RAS, name).shape
    assert view.plane == "axial"
