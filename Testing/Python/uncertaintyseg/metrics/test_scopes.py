"""Where error detectors are judged."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.scopes import body_mask, boundary_band, error_scopes

SPACING = (0.8, 1.0, 2.5)


def structures(shape=(24, 20, 12)) -> np.ndarray:
    """Two structures that touch each other and one border of the volume."""
    label = np.zeros(shape, int)
    label[8:14, 6:12, 0:5], label[14:18, 6:12, 2:6] = 1, 2
    return label


def band(label: np.ndarray, spacing, within: float) -> np.ndarray:
    """The definition, by neighbours one by one and a search tree."""
    index = np.argwhere(np.ones(label.shape, bool))
    padded = np.pad(label, 1, mode="edge")
    inner = tuple(slice(1, -1) for _ in label.shape)
    changes = sum(np.roll(padded, step, axis)[inner] != label for axis in range(label.ndim) for step in (1, -1)) > 0
    return (cKDTree(index[changes.ravel()] * spacing).query(index * spacing)[0] <= within + 1e-6).reshape(label.shape)


@pytest.mark.parametrize("within", [0.0, 1.0, 3.0])
def test_the_boundary_is_near_a_change_of_class_in_millimetres(within):
    label = structures()
    np.testing.assert_array_equal(boundary_band(label, SPACING, within), band(label, SPACING, within))


def test_three_millimetres_are_the_standard():
    np.testing.assert_array_equal(boundary_band(structures(), SPACING), boundary_band(structures(), SPACING, 3.0))


def test_borders_between_structures_count_and_the_border_of_the_volume_does_not():
    touching = np.where(np.arange(20) < 10, 1, 2)[:, None, None] * np.ones((20, 4, 4), int)
    assert np.flatnonzero(boundary_band(touching, (1, 1, 1))[:, 0, 0]).tolist() == list(range(6, 14))
    assert not boundary_band(np.ones((4, 4, 4), int), (1, 1, 1)).any()


def test_both_sides_of_a_border_belong_to_the_band_however_large_the_voxels():
    label = structures()
    found = boundary_band(label, (10, 10, 10))
    np.testing.assert_array_equal(found, band(label, (10, 10, 10), 0.0))
    np.testing.assert_array_equal(found, boundary_band((label + 1) % 3, (10, 10, 10)))


def test_an_empty_reference_has_no_boundary_and_one_slice_has_one_in_its_plane():
    assert not boundary_band(np.zeros((5, 5, 5), int), SPACING).any()
    label = structures()[:, :, 3]
    np.testing.assert_array_equal(
        boundary_band(label[:, :, None], (*SPACING[:2], 50))[:, :, 0], boundary_band(label, SPACING[:2])
    )


def person(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A CT: soft tissue with a lung in it, in air."""
    rng = np.random.default_rng(0)
    distance = ((np.indices((40, 40, 20)) - np.array([20, 20, 10]).reshape(-1, 1, 1, 1)) ** 2)[:2].sum(0)
    body = distance < 15**2
    image = np.where(body, 40.0, -1000.0) + noise * rng.standard_normal(body.shape)
    image[16:24, 16:24, 6:14] -= 1040
    return image.astype(np.float32), body


@pytest.mark.parametrize("noise", [0, 20])
def test_the_body_is_what_air_does_not_surround_with_the_air_inside_it(noise):
    image, body = person(noise)
    assert (body_mask(image) == body).mean() > 0.999


def test_a_crop_is_all_body():
    image, _ = person(20)
    assert body_mask(image[15:25, 15:25]).all()
    assert body_mask(np.random.default_rng(0).normal(100, 20, (20, 20, 20))).all()
    assert body_mask(np.full((3, 3, 3), 7.0)).all()


def test_scopes_hold_all_of_the_reference_in_the_body():
    image, body = person(0)
    reference = np.zeros(body.shape, int)
    reference[0:3, 0:3, 0:3] = 1
    found = error_scopes(image, reference, SPACING)
    assert list(found) == ["all", "body", "boundary"]
    assert found["all"] is None
    np.testing.assert_array_equal(found["body"], body | (reference == 1))
    np.testing.assert_array_equal(found["boundary"], boundary_band(reference, SPACING))
    with pytest.raises(InputError, match="the image has shape"):
        error_scopes(image[1:], reference, SPACING)
