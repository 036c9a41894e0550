"""L-FUSION's fused map as a formula (METHODS 4.5)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.laplace.l_fusion import l_fusion_map, logit_variance
from uncertaintyseg.logits import Diagonal, GaussianLogits, LogitEnsemble, LowRank, Sum

SHAPE = (1, 3, 4, 2, 2)


def gaussian(seed: int, scale: float = 1.0, copies: int = 1) -> GaussianLogits:
    """The same in each of so many cases of a batch, whose samples are independent."""
    generator = torch.Generator().manual_seed(seed)
    mean, variance = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    factor = torch.randn(1, 3, 2, *SHAPE[2:], generator=generator, dtype=torch.float64)
    mean, variance, factor = (part.repeat(copies, *[1] * (part.ndim - 1)) for part in (mean, variance, factor))
    return GaussianLogits(2 * mean, Sum(Diagonal(scale * variance.exp()), LowRank(scale * factor)))


def test_the_variance_of_the_difference_is_that_of_independent_samples():
    laplace, dropout = gaussian(0, copies=500), gaussian(1, copies=500)
    generator = torch.Generator().manual_seed(0)
    pairs = zip(laplace.sample(40, generator), dropout.sample(40, generator), strict=True)
    sampled = torch.cat([one - other for one, other in pairs]).var(0)
    assert torch.allclose(logit_variance(laplace) + logit_variance(dropout), sampled, rtol=0.06)


@pytest.mark.parametrize("mean_gap", [False, True])
@pytest.mark.parametrize("entropy_of", ["pooled", "difference"])
def test_the_map_is_the_product_of_its_factors(mean_gap, entropy_of):
    laplace, dropout = gaussian(0), gaussian(1)
    measure = torch.rand(1, 1, *SHAPE[2:], dtype=torch.float64)
    found = l_fusion_map(laplace, dropout, measure=measure, entropy_of=entropy_of, mean_gap=mean_gap)
    gap = (laplace.mean - dropout.mean).numpy()
    spread = (logit_variance(laplace) + logit_variance(dropout)).numpy() + mean_gap * gap**2
    pooled = sum(part.moments().probability.numpy() for part in (laplace, dropout)) / 2
    if entropy_of == "difference":
        pooled = np.exp(gap) / np.exp(gap).sum(1, keepdims=True)
    wanted = np.sqrt(spread.mean(1)) * entropy(pooled, axis=1) * measure.numpy().var(ddof=1)
    assert found.shape == (1, 1, *SHAPE[2:])
    assert np.allclose(found[:, 0].numpy(), wanted)


def test_two_sure_heads_leave_nothing_to_fuse():
    mean = gaussian(0).mean
    assert l_fusion_map(GaussianLogits(mean), GaussianLogits(mean)).max() == 0
    assert l_fusion_map(GaussianLogits(mean), GaussianLogits(-mean)).max() == 0
    assert l_fusion_map(GaussianLogits(mean), GaussianLogits(-mean), mean_gap=True).min() > 0


def test_as_the_paper_writes_it_the_entropy_is_largest_where_the_heads_agree():
    laplace, other = gaussian(0), gaussian(1)
    agreeing = GaussianLogits(laplace.mean, other.covariance)
    same, apart = (l_fusion_map(laplace, head, entropy_of="difference") for head in (agreeing, other))
    assert (same >= apart).all()


def test_a_stream_of_passes_is_sampled():
    passes = [GaussianLogits(torch.full(SHAPE, float(value))) for value in (1.0, 2.0, 4.0)]
    stream = LogitEnsemble(lambda: iter(passes), 3)
    variance = logit_variance(stream, 3000, torch.Generator().manual_seed(0))
    assert torch.allclose(variance, torch.full(SHAPE, np.var([1.0, 2.0, 4.0])).float(), rtol=0.1)
    assert torch.isfinite(l_fusion_map(GaussianLogits(torch.zeros(SHAPE)), stream)).all()


def test_heads_of_other_voxels_and_unknown_options_are_refused():
    with pytest.raises(InputError, match="same voxels and classes"):
        l_fusion_map(gaussian(0), GaussianLogits(torch.zeros(1, 3, 2, 2, 2)))
    with pytest.raises(InputError, match="'entropy_of' is 'both'"):
        l_fusion_map(gaussian(0), gaussian(1), entropy_of="both")
