"""Both marginals against the C x C matrices that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.logits import Diagonal, Sum
from uncertaintyseg.logits.marginal import DirectedMarginal, Marginal
from uncertaintyseg.logits.weight_noise import SeparableWeightNoise

CLASSES, RANK, VOXELS = 5, 4, 7


def _marginal(kind: str) -> Marginal:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    diagonal = draw(2, CLASSES, VOXELS).square()
    if kind == "none":
        return Marginal(diagonal, None)
    if kind == "factor":
        return Marginal(diagonal, draw(2, CLASSES, RANK, VOXELS))
    return DirectedMarginal(diagonal, draw(CLASSES, RANK), draw(2, RANK, VOXELS).square())


@pytest.fixture(params=["none", "factor", "directions"])
def marginal(request) -> Marginal:
    return _marginal(request.param)


def test_the_variances_of_differences_are_those_of_the_matrix(marginal):
    reference = torch.tensor([0, 1, 2, 3, 4, 0, 2])
    sigma = marginal.dense()[1].numpy()
    found = marginal.item(1).difference_variances(reference).numpy()
    for n, r in enumerate(reference.tolist()):
        wanted = sigma[n].diagonal() + sigma[n, r, r] - 2 * sigma[n, r]
        np.testing.assert_allclose(found[:, n], wanted, atol=1e-12)


def test_some_classes_of_some_voxels_have_their_part_of_the_matrix(marginal):
    voxels, classes = torch.tensor([1, 4]), torch.tensor([[3, 0], [1, 4], [2, 2]])
    found = marginal.item(0).at(voxels).of_classes(classes)
    dense = Marginal(found.diagonal[None], None if found.factor is None else found.factor[None]).dense()[0]
    sigma = marginal.dense()[0].numpy()
    for n, voxel in enumerate(voxels.tolist()):
        chosen = classes[:, n].numpy()
        np.testing.assert_allclose(dense[n].numpy(), sigma[voxel][np.ix_(chosen, chosen)], atol=1e-12)


def test_independent_noise_adds_to_the_diagonal(marginal):
    more = torch.rand(2, CLASSES, VOXELS, dtype=torch.float64)
    wanted = marginal.dense() + torch.diag_embed(more.transpose(1, 2))
    torch.testing.assert_close(marginal.plus(more).dense(), wanted)


def test_directions_stay_shared_beside_independent_noise():
    features, rotation = torch.randn(1, 3, 2, 2, 2), torch.linalg.qr(torch.randn(4, 4)).Q
    noise = SeparableWeightNoise(features, torch.rand(RANK, 4), rotation, torch.randn(CLASSES, RANK))
    own = Diagonal(torch.rand(1, CLASSES, 2, 2, 2))
    both = Sum(own, noise).marginal()
    assert isinstance(both, DirectedMarginal)
    torch.testing.assert_close(both.dense(), own.marginal().dense() + noise.marginal().dense())
