"""Grids in space: exact where voxels coincide, like ITK where they do not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from uncertaintyseg.data import geometry
from uncertaintyseg.data.geometry import covers, lattice_map, resample, spacing_mm, voxel_volume_ml

ORIENTATIONS = [
    (axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]
shapes = st.tuples(*[st.integers(2, 7)] * 3)
spacings = st.tuples(*[st.floats(0.3, 8)] * 3)
angles = st.tuples(*[st.floats(-180, 180).map(lambda a: round(a, 6))] * 3)  # ITK's SVD fails on 1e-311 degrees
origins = st.tuples(*[st.floats(-500, 500)] * 3)


def affine_of(spacing=(1, 1, 1), degrees=(0, 0, 0), origin=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    return affine


def voxels(shape, channels=2, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((channels, *shape), dtype=np.float32))


@given(spacing=spacings, degrees=angles, origin=origins)
def test_spacing_and_volume_do_not_depend_on_where_the_scan_lies(spacing, degrees, origin):
    affine = affine_of(spacing, degrees, origin)
    assert spacing_mm(affine) == pytest.approx(spacing)
    assert voxel_volume_ml(affine) == pytest.approx(np.prod(spacing) / 1000)


@given(shape=shapes, spacing=spacings, degrees=angles, origin=origins, orientation=st.sampled_from(ORIENTATIONS))
def test_flips_and_permutations_of_an_oblique_scan_are_exact_there_and_back(
    shape, spacing, degrees, origin, orientation
):
    axes, signs = orientation
    affine = affine_of(spacing, degrees, origin)
    turned_shape = tuple(shape[a] for a in axes)
    to_source = np.zeros((4, 4))
    to_source[3, 3] = 1
    for d, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        to_source[axis, d] = sign
        to_source[axis, 3] = 0 if sign > 0 else shape[axis] - 1
    volume = voxels(shape)

    turned = resample(volume, affine, affine @ to_source, turned_shape)

    expected = volume.permute(0, *(a + 1 for a in axes)).flip([d + 1 for d in range(3) if signs[d] < 0])
    assert torch.equal(turned, expected)
    assert torch.equal(resample(turned, affine @ to_source, affine, shape), volume)


@given(shape=shapes, shift=st.tuples(*[st.integers(-8, 8)] * 3), size=shapes, degrees=angles)
def test_cropping_and_padding_copy_voxels_and_fill_with_zero(shape, shift, size, degrees):
    affine = affine_of((0.8, 0.8, 5), degrees, (10, -20, 30))
    volume = torch.arange(1, 1 + int(np.prod(shape)), dtype=torch.uint8).reshape(1, *shape)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ shift

    cropped = resample(volume, affine, moved, size)

    padded = np.pad(volume[0].numpy(), 20)
    window = tuple(slice(20 + s, 20 + s + n) for s, n in zip(shift, size, strict=True))
    assert cropped.dtype == torch.uint8
    np.testing.assert_array_equal(cropped[0], padded[window])


def itk_image(array, affine):
    image = sitk.GetImageFromArray(array.T)
    lps = np.diag([-1, -1, 1, 1]) @ affine
    image.SetSpacing(spacing_mm(affine))
    image.SetDirection((lps[:3, :3] / spacing_mm(affine)).flatten())
    image.SetOrigin(lps[:3, 3])
    return image


@settings(max_examples=40, deadline=None)
@given(spacing=spacings, degrees=angles, src_degrees=angles, shift=st.tuples(*[st.floats(-6, 6)] * 3))
def test_oblique_and_anisotropic_grids_get_the_values_that_itk_gives(spacing, degrees, src_degrees, shift):
    source = affine_of((1, 1.3, 2.5), src_degrees, (5, -3, 8))
    target = affine_of(spacing, degrees, np.add(source[:3, 3], shift))
    volume, shape = voxels((12, 11, 9), channels=1), (8, 9, 10)

    ours = resample(volume, source, target, shape)[0].numpy()

    like = itk_image(np.zeros(shape, np.float32), target)
    itk = sitk.Resample(itk_image(volume[0].numpy(), source), like, sitk.Transform(), sitk.sitkLinear, 0.0)
    index = np.stack(np.meshgrid(*map(range, shape), [1], indexing="ij")).reshape(4, -1)
    inside = (np.linalg.inv(source) @ target @ index)[:3]
    size = np.array(volume.shape[1:])[:, None]
    away = (np.abs(inside + 0.5) > 1e-3) & (np.abs(inside - size + 0.5) > 1e-3)  # from the edge of the field of view
    np.testing.assert_allclose(ours.ravel()[away.all(0)], sitk.GetArrayFromImage(itk).T.ravel()[away.all(0)], atol=2e-4)


def test_a_linear_ramp_comes_out_at_the_right_millimetre():
    source, target = affine_of((1.5, 1.5, 3)), affine_of((1, 1, 1), (0, 0, 30), (6, 4, 9))
    at = np.meshgrid(*map(np.arange, (24, 24, 12)), indexing="ij")
    ramp = torch.from_numpy(np.stack([a * s for a, s in zip(at, (1.5, 1.5, 3), strict=True)]).astype(np.float32))
    out = resample(ramp, source, target, (6, 6, 6))
    np.testing.assert_allclose(out[:, 3, 2, 5], (target @ [3, 2, 5, 1])[:3], atol=1e-4)


def test_outside_the_field_of_view_is_zero_and_the_border_voxel_counts_in_full():
    volume = torch.ones(1, 4, 4, 4)
    out = resample(volume, np.eye(4), affine_of((0.5, 1, 1), origin=(-1.25, 0, 0)), (12, 4, 4))[0, :, 0, 0]
    assert out.tolist() == [0, 0] + [1] * 8 + [0, 0]  # centres at -0.25 to 3.25 mm lie within [-0.5, 3.5]


def test_slabs_give_the_same_values_as_one_piece(monkeypatch):
    volume, target = voxels((9, 8, 7), channels=3), affine_of((0.7, 0.9, 1.1), (10, 20, 30))
    whole = resample(volume, np.eye(4), target, (11, 10, 9))
    monkeypatch.setattr(geometry, "_SLAB_VOXELS", 1)
    assert torch.equal(resample(volume, np.eye(4), target, (11, 10, 9)), whole)


def test_half_precision_keeps_its_dtype():
    out = resample(voxels((5, 5, 5)).half(), np.eye(4), affine_of((0.7, 0.7, 0.7)), (6, 6, 6))
    assert out.dtype == torch.float16


def test_labels_are_never_interpolated():
    with pytest.raises(TypeError, match="cannot interpolate"):
        resample(torch.ones(1, 3, 3, 3, dtype=torch.uint8), np.eye(4), affine_of((0.7, 1, 1)), (3, 3, 3))


@settings(max_examples=20, deadline=None)
@given(spacing=spacings, degrees=angles, shift=st.tuples(*[st.floats(-6, 6)] * 3))
def test_asked_for_the_nearest_voxel_labels_keep_their_classes(spacing, degrees, shift):
    source, target = affine_of((1, 1.3, 2.5), (10, 20, 30), (5, -3, 8)), affine_of(spacing, degrees, (5, -3, 8))
    target[:3, 3] += shift
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 200, (1, 12, 11, 9), dtype=np.uint8))

    ours = resample(labels, source, target, (8, 9, 10), nearest=True)

    index = np.stack(np.meshgrid(*map(range, (8, 9, 10)), [1], indexing="ij")).reshape(4, -1)
    at = (np.linalg.inv(source) @ target @ index)[:3]
    wanted = map_coordinates(labels[0].numpy(), np.rint(at), order=0, mode="constant")
    clear = (np.abs(at - np.rint(at)) < 0.5 - 1e-3).all(0)  # halfway either neighbour will do
    assert ours.dtype == torch.uint8
    np.testing.assert_array_equal(ours.numpy().ravel()[clear], wanted[clear])


def test_grids_half_a_voxel_apart_do_not_coincide():
    assert lattice_map(np.eye(4), affine_of(origin=(0.5, 0, 0)), (4, 4, 4)) is None
    assert lattice_map(np.eye(4), affine_of(origin=(1e-5, 0, 0)), (4, 4, 4)) is not None


@given(shapes, shapes, spacings, angles, st.tuples(*[st.floats(-5, 5)] * 3))
def test_a_grid_is_covered_where_resampled_ones_stay_ones(source, target, spacing, degrees, origin):
    src, dst = affine_of(spacing, degrees), affine_of((1.0, 2.0, 0.5), (0, 0, 30), origin)
    seen = resample(torch.ones(1, *source, dtype=torch.uint8), src, dst, target, nearest=True)
    if covers(src, source, dst, target):
        assert seen.min() == 1
    elif not covers(src, np.add(source, 1e-3), dst, target):  # not a matter of rounding
        assert seen.min() == 0
