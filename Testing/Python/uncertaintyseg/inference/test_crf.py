"""The mean field against sums over all pairs of voxels, and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.crf import CRF, unary_energy


def case(shape=(4, 4, 4), classes=3, channels=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, classes, *shape, generator=generator, dtype=torch.float64)
    image = 100 + 30 * torch.randn(1, channels, *shape, generator=generator, dtype=torch.float64)
    return logits.softmax(1), image, torch.rand(1, 1, *shape, generator=generator, dtype=torch.float64)


def dense_mean_field(probability, image, spacing, uncertainty, crf: CRF):
    """Literally METHODS 5.3, with k as an N x N matrix."""
    classes, *shape = probability.shape
    p, looks = probability.reshape(classes, -1).T, image.reshape(image.shape[0], -1).T
    looks = looks / (looks.std(0, ddof=1) * crf.sigma_intensity)
    x = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, len(shape)) * spacing
    distance = np.square(x[:, None] - x[None]).sum(-1)
    radius = crf.radius_mm or 2 * crf.sigma_mm
    steps = np.abs(x[:, None] - x[None]) / spacing
    near = (distance <= radius**2 + 1e-9) & (steps.max(-1) < crf.reach + 0.5) & ~np.eye(len(x), dtype=bool)
    spatial = np.exp(-distance / (2 * crf.sigma_mm**2)) * near
    bilateral = spatial * np.exp(-np.square(looks[:, None] - looks[None]).sum(-1) / 2)
    pairwise = np.zeros_like(spatial)
    for weight, k in ((crf.weight, bilateral), (crf.smoothness, spatial)):
        total = k.sum(1)
        pairwise += weight * k / np.sqrt(total[:, None] * total[None])
    u = uncertainty.reshape(-1, 1)
    q_share = (u - u.min()) / (u.max() - u.min())
    unary = (1 - q_share) * -np.log(p) + q_share * np.log(classes)
    q = p
    for _ in range(crf.iterations):
        q = softmax(-unary - pairwise @ (1 - q), axis=1)
    return q.T.reshape(probability.shape)


@pytest.mark.parametrize(
    ("crf", "spacing", "channels"),
    [
        (CRF(), (1.0, 1.0, 1.0), 1),
        (CRF(weight=10, iterations=3), (3.0, 3.0, 6.0), 2),
        (CRF(smoothness=1.5, sigma_mm=2.0, radius_mm=2.5), (1.0, 1.2, 2.0), 1),
        (CRF(weight=0, smoothness=2.0), (2.0, 1.0, 1.0), 1),
        (CRF(reach=1), (0.3, 0.3, 0.3), 1),
    ],
)
def test_it_is_the_mean_field_over_all_pairs_within_the_radius(crf, spacing, channels):
    p, image, u = case(channels=channels)
    wanted = dense_mean_field(p[0].numpy(), image[0].numpy(), np.array(spacing), u[0].numpy(), crf)
    assert np.allclose(crf(p, image, spacing, u)[0].numpy(), wanted, atol=1e-10)


@given(seed=st.integers(0, 1000), shape=st.tuples(*[st.integers(2, 5)] * 3), weight=st.floats(0, 20))
def test_probabilities_stay_probabilities(seed, shape, weight):
    p, image, u = case(shape, seed=seed)
    q = CRF(weight, smoothness=1.0, sigma_mm=1.0)(p.float(), image.float(), (1, 1, 1), u.float())
    assert torch.allclose(q.sum(1), torch.ones(1, *shape), atol=1e-5)
    assert (q >= 0).all()


@given(seed=st.integers(0, 1000), axis=st.integers(0, 2))
def test_a_mirrored_volume_gives_a_mirrored_answer(seed, axis):
    p, image, u = case((3, 4, 5), seed=seed)
    crf, spacing = CRF(sigma_mm=1.5), (1.0, 1.5, 2.0)
    mirrored = crf(p.flip(axis + 2), image.flip(axis + 2), spacing, u.flip(axis + 2))
    assert torch.allclose(mirrored, crf(p, image, spacing, u).flip(axis + 2))


def test_classes_are_treated_alike():
    p, image, u = case()
    order = [2, 0, 1]
    assert torch.allclose(CRF()(p[:, order], image, (1, 1, 1), u), CRF()(p, image, (1, 1, 1), u)[:, order])


def test_without_weight_or_uncertainty_the_model_is_left_as_it_is():
    p, image, _ = case()
    assert torch.allclose(CRF(weight=0)(p, image, (1, 1, 1)), p)


def test_an_uncertainty_that_is_the_same_everywhere_says_nothing():
    p, image, u = case()
    assert torch.equal(CRF()(p, image, (1, 1, 1), torch.full_like(u, 0.7)), CRF()(p, image, (1, 1, 1)))


def test_where_nothing_is_known_the_energy_is_that_of_a_guess():
    p, _, u = case()
    assert torch.allclose(unary_energy(p, torch.ones_like(u)), torch.tensor(3.0, dtype=p.dtype).log())
    assert torch.allclose(unary_energy(p, torch.zeros_like(u)), -p.log())
    assert torch.isfinite(unary_energy(torch.tensor([1.0, 0.0])[None, :, None], torch.zeros(1, 1, 1))).all()


def test_a_lone_voxel_joins_neighbours_that_look_like_it():
    p = torch.full((1, 2, 6, 6, 6), 0.1)
    p[:, 0] = 0.9
    p[..., 3, 3, 3] = torch.tensor([0.4, 0.6])
    flat = torch.full((1, 1, 6, 6, 6), 7.0)
    edged = flat.clone()
    edged[..., 3, 3, 3] = 100.0
    assert CRF()(p, flat, (1, 1, 1))[0, 1, 3, 3, 3] < 0.3  # a constant image: only distance counts
    assert CRF()(p, edged, (1, 1, 1))[0, 1, 3, 3, 3] > 0.5  # nothing near looks like it


def test_an_axis_whose_voxels_are_beyond_the_radius_is_not_crossed():
    p, image, u = case((4, 4, 3))
    slices = [CRF(sigma_mm=1.0, smoothness=1.0)(p, image, (1.0, 1.0, 5.0), u)]
    changed = p.clone()
    changed[..., 0] = changed[..., 0].flip(1)
    slices.append(CRF(sigma_mm=1.0, smoothness=1.0)(changed, image, (1.0, 1.0, 5.0), u))
    assert torch.equal(slices[0][..., 1:], slices[1][..., 1:])
    assert not torch.equal(slices[0][..., 0], slices[1][..., 0])


def test_volumes_of_a_batch_do_not_meet():
    p, image, u = (torch.cat([one, two]) for one, two in zip(case(seed=1), case(seed=2), strict=True))
    both = CRF()(p, image, (1, 1, 1), u)
    assert torch.allclose(both[1:], CRF()(p[1:], image[1:], (1, 1, 1), u[1:]))


def test_one_slice_is_refused():
    p, image, _ = case((4, 4, 1))
    with pytest.raises(InputError, match=r"1 voxel along axis 2.*whole volume"):
        CRF()(p, image, (1, 1, 1))


def test_values_that_are_not_finite_are_refused():
    p, image, u = case()
    bad = image.clone()
    bad[0, 0, 1, 1, 1] = float("nan")
    with pytest.raises(InputError, match="image holds values that are NaN"):
        CRF()(p, bad, (1, 1, 1))
    with pytest.raises(InputError, match="probability holds values"):
        CRF()(p * float("nan"), image, (1, 1, 1))
    with pytest.raises(InputError, match="uncertainty holds values"):
        CRF()(p, image, (1, 1, 1), u * float("inf"))


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (1, 1, float("nan"))])
def test_a_spacing_that_does_not_fit_is_refused(spacing):
    p, image, _ = case()
    with pytest.raises(InputError, match="spacing"):
        CRF()(p, image, spacing)


def test_shapes_that_do_not_fit_are_refused():
    p, image, u = case()
    with pytest.raises(InputError, match="image has shape"):
        CRF()(p, image[..., 1:], (1, 1, 1))
    with pytest.raises(InputError, match="2 channels"):
        CRF()(p, image, (1, 1, 1), u.expand(1, 2, 4, 4, 4))
    with pytest.raises(InputError, match="two classes"):
        CRF()(p[:, :1], image, (1, 1, 1))


def test_a_radius_within_one_voxel_is_refused():
    p, image, _ = case()
    with pytest.raises(InputError, match=r"no two voxels of 5 x 5 x 5 mm.*radius of 4 mm and reach of 3"):
        CRF(radius_mm=4.0)(p, image, (5, 5, 5))


SETTINGS = ["weight", "sigma_mm", "sigma_intensity", "smoothness", "radius_mm", "reach", "iterations"]


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_without_sense_are_refused(name):
    with pytest.raises(InputError, match=name):
        CRF(**{name: -1})
