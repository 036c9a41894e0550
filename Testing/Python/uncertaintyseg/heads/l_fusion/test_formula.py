"""L-FUSION's fused maps as formulas (METHODS 4.5)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.l_fusion.formula import (
    PathLogits,
    inter_path,
    intra_path,
    of_gaussian,
    of_passes,
    pairwise_kl_of_passes,
    seen_by_passes,
)
from uncertaintyseg.logits import Diagonal, GaussianLogits, LogitEnsemble, LowRank, Sum

SHAPE = (1, 3, 4, 2, 2)


def gaussian(seed: int, copies: int = 1) -> GaussianLogits:
    """The same in each of so many cases of a batch, whose samples are independent."""
    generator = torch.Generator().manual_seed(seed)
    mean, variance = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    factor = torch.randn(1, 3, 2, *SHAPE[2:], generator=generator, dtype=torch.float64)
    mean, variance, factor = (part.repeat(copies, *[1] * (part.ndim - 1)) for part in (mean, variance, factor))
    return GaussianLogits(2 * mean, Sum(Diagonal(variance.exp()), LowRank(factor)))


def passes(count: int = 5) -> tuple[LogitEnsemble, np.ndarray]:
    logits = 2 * torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ensemble = LogitEnsemble(lambda: (GaussianLogits(each) for each in logits), count, also=seen_by_passes)
    return ensemble, logits.numpy()


def centred(logits: np.ndarray, axis: int) -> np.ndarray:
    return logits - logits.mean(axis, keepdims=True)


def test_the_variance_of_the_difference_is_that_of_independent_samples():
    first, second = gaussian(0, copies=500), gaussian(1, copies=500)
    generator = torch.Generator().manual_seed(0)
    pairs = zip(first.sample(40, generator), second.sample(40, generator), strict=True)
    sampled = centred(torch.cat([one - other for one, other in pairs]).numpy(), 1).var(0)
    assert np.allclose((of_gaussian(first).variance + of_gaussian(second).variance)[0], sampled, rtol=0.06)


def test_what_all_classes_share_counts_for_nothing():
    own, mean = gaussian(0), gaussian(0).mean
    shared = LowRank(torch.ones(1, 3, 1, *SHAPE[2:], dtype=torch.float64))
    moved = GaussianLogits(mean + 7, Sum(*own.covariance.parts, shared))
    for one, other in zip(of_gaussian(own)[:2], of_gaussian(moved)[:2], strict=True):
        assert torch.allclose(one, other)


def test_passes_have_the_mean_and_the_unbiased_variance_of_their_logits():
    ensemble, logits = passes()
    found = of_passes(ensemble)
    assert np.allclose(found.mean, centred(logits, 2).mean(0))
    assert np.allclose(found.variance, centred(logits, 2).var(0, ddof=1))


def test_the_pairwise_divergence_of_passes_is_the_mean_over_pairs():
    ensemble, logits = passes()
    p = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    pairs = [entropy(p[i], p[j], axis=1) for i in range(5) for j in range(5) if i != j]
    assert np.allclose(pairwise_kl_of_passes(ensemble)[:, 0], np.mean(pairs, axis=0))


@pytest.mark.parametrize("mean_gap", [False, True])
@pytest.mark.parametrize("entropy_of", ["pooled", "difference"])
def test_the_map_across_paths_is_the_product_of_its_factors(mean_gap, entropy_of):
    first, second = of_gaussian(gaussian(0)), of_gaussian(gaussian(1))
    found = inter_path(first, second, entropy_of=entropy_of, mean_gap=mean_gap)
    gap = (first.mean - second.mean).numpy()
    spread = (first.variance + second.variance).numpy() + mean_gap * gap**2
    pooled = ((first.probability + second.probability) / 2).numpy()
    if entropy_of == "difference":
        pooled = np.exp(gap) / np.exp(gap).sum(1, keepdims=True)
    assert found.shape == (1, 1, *SHAPE[2:])
    assert np.allclose(found[:, 0].numpy(), np.sqrt(spread.mean(1)) * entropy(pooled, axis=1))


def test_the_map_within_a_path_is_that_of_two_draws_of_it():
    path = of_gaussian(gaussian(0))
    assert torch.allclose(intra_path(path), inter_path(path, path))


def test_two_sure_paths_leave_nothing_to_fuse_but_their_gap():
    mean = gaussian(0).mean
    same, opposite = of_gaussian(GaussianLogits(mean)), of_gaussian(GaussianLogits(-mean))
    assert inter_path(same, same).max() == inter_path(same, opposite).max() == 0
    assert inter_path(same, opposite, mean_gap=True).min() > 0


def test_as_the_paper_writes_it_the_entropy_is_largest_where_the_paths_agree():
    first, other = of_gaussian(gaussian(0)), of_gaussian(gaussian(1))
    agreeing = PathLogits(first.mean, other.variance, other.probability)
    same, apart = (inter_path(first, path, entropy_of="difference") for path in (agreeing, other))
    assert (same >= apart).all()


def test_paths_of_other_voxels_and_unknown_options_are_refused():
    with pytest.raises(InputError, match="same voxels and classes"):
        inter_path(of_gaussian(gaussian(0)), of_gaussian(GaussianLogits(torch.zeros(1, 3, 2, 2, 2))))
    with pytest.raises(InputError, match="'entropy_of' is 'both'"):
        inter_path(of_gaussian(gaussian(0)), of_gaussian(gaussian(1)), entropy_of="both")
