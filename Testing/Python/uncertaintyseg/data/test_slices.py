"""Volumes as slices of one size: what lies where in space stays there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.slices import OntoSlicesd, is_flat, padded, thickest
from uncertaintyseg.errors import InputError


def scan(values, affine, **meta):
    return MetaTensor(torch.as_tensor(values)[None].float(), affine=torch.as_tensor(affine).double(), meta=meta)


def ramp(affine, shape):
    """A scan whose value is the place along R in mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return scan((index @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3])[..., 0], affine)


TURNED = np.array([[0, 0, -4.0, 50], [1.5, 0, 0, -7], [0, -3.0, 0, 11], [0, 0, 0, 1]])
"""Its axes run to the front, down and to the left, at 1.5, 3 and 4 mm."""


@pytest.mark.parametrize(
    ("plane", "shape"), [("sagittal", (8, 20, 10)), ("coronal", (20, 15, 8)), ("axial", (20, 6, 10))]
)
def test_slices_keep_the_proportions_of_their_plane_and_follow_along_what_is_left(plane, shape):
    extents = {"right": 40, "front": 12, "up": 30}  # mm; so many slices: 10, 8, 10
    made = OntoSlicesd(20, plane)({"image": ramp(TURNED, (8, 10, 10))})["image"]
    assert tuple(made.shape[1:]) == shape
    sides = np.linalg.norm(np.asarray(made.affine)[:3, :3], axis=0) * shape
    assert sorted(np.round(sides)) == sorted(extents.values())


def test_what_lies_where_in_space_stays_there():
    volume = ramp(TURNED, (8, 10, 10))
    made = OntoSlicesd(20, "coronal")({"image": volume})["image"]
    affine = np.asarray(made.affine)
    places = affine[0, 0] * np.arange(made.shape[1]) + affine[0, 3]
    low, high = float(volume.min()), float(volume.max())
    inside = (places > low + 4) & (places < high - 4)  # beyond, values are held at the border
    expected = (places - low) / (high - low)
    found = made[0, :, 7, 3].numpy()
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.02)
    edges = affine[:3, :3] @ [-0.5, -0.5, 0] + affine[:3, 3]
    np.testing.assert_allclose(edges[[0, 2]], [50 - 9 * 4 - 2, 11 - 9 * 3 - 1.5])


def test_each_slice_is_scaled_by_itself_and_a_constant_one_is_zero():
    values = torch.rand(6, 6, 3)
    values[..., 1] *= 100
    values[..., 2] = 7
    made = OntoSlicesd(6)({"image": scan(values, np.eye(4))})["image"]
    assert made.amin((0, 1, 2)).tolist() == [0, 0, 0]
    assert made.amax((0, 1, 2)).tolist() == [1, 1, 0]
    cut = OntoSlicesd(6, clip=(0.0, 0.5))({"image": scan(values, np.eye(4))})["image"]
    np.testing.assert_allclose(cut[0, ..., 0] > 0.999, values[..., 0] >= 0.5)


def test_a_pixel_of_a_smaller_slice_is_the_mean_of_what_it_covers_and_a_label_stays_a_label():
    values = torch.zeros(64, 64, 1)
    values[::2] = 1  # finer than the small slice can show
    values[0, 0] = 2
    label = (torch.arange(64)[:, None, None] // 16).expand(64, 64, 1)
    made = OntoSlicesd(16)({"image": scan(values, np.eye(4)), "label": scan(label, np.eye(4))})
    inner = made["image"][0, 2:-2, 2:-2, 0]
    assert float(inner.std()) < 0.02
    assert made["label"].unique().tolist() == [0, 1, 2, 3]
    assert (made["label"][0, :, 0, 0] == torch.arange(16) // 4).all()


def test_smaller_slices_lie_amid_zeros_where_a_window_has_them():
    found = padded(torch.ones(3, 5, 8), 8)
    assert found.shape == (3, 8, 8)
    assert found[0, :, 0].tolist() == [0, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("spacing", "plane"), [((1, 1, 5), "sagittal"), ((5, 1, 1), "coronal"), ((1, 5, 1), "axial"), ((1, 1, 1), "axial")]
)
def test_the_plane_of_a_volume_is_that_of_its_thickest_slices(spacing, plane):
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = *spacing, 1  # axes to the front, up, right
    volume = scan(torch.rand(4, 4, 4), affine)
    assert thickest(volume) == plane


def test_images_and_clips_have_slices_of_their_own():
    assert is_flat(scan(torch.rand(4, 4, 1), np.eye(4)))
    assert is_flat(scan(torch.rand(4, 4, 3), np.eye(4), axis="time"))
    assert not is_flat(scan(torch.rand(4, 4, 3), np.eye(4)))


def test_an_unknown_plane_is_refused():
    with pytest.raises(InputError, match=r"the plane 'oblique' is unknown; choose sagittal, coronal, axial"):
        OntoSlicesd(8, "oblique")
