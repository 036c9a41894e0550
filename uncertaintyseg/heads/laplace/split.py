"""Which part of the uncertainty is the labels' and which the weights', where a head has noise of both kinds.

LSN (Zepf et al. 2024; METHODS 4.2) splits the entropy of the mean prediction by what would be left if the weights were
known. No sampling: with two classes the inner expectation is closed and the outer a sum over a line (error below 1e-6
for logit standard deviations up to 8); with more, both are taken at fixed nodes, on the voxels that are uncertain at
all (`Testing/.../test_split.py` states the error). Not `expected_entropy` and `mutual_information`: those take the
entropy of each sample of the logits.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from uncertaintyseg.logits import Covariance, GaussianLogits, Sum, closed_form, most_likely, quadrature
from uncertaintyseg.logits.marginal import Marginal
from uncertaintyseg.measures import predictive_entropy
from uncertaintyseg.wire import MapInfo

LARGEST_KL = 100.0
"""Nats; larger expected pairwise divergences are cut off."""
REACH, LINE_NODES = 5.0, 65
"""Two classes: equidistant nodes out to so many standard deviations."""
OUTER_NODES, INNER_NODES = 32, 32
"""More classes: nodes for the weights, and for the logits given each of them."""
SETTLED = 2e-3
"""Nats of predictive entropy below which nothing is split: all of it counts as aleatoric."""
_BLOCK, _NESTED_BLOCK = 2**14, 2**11
_LARGEST = 40.0
"""Log-odds beyond which probabilities no longer change; products of two odds stay finite in float32."""


def split_info(classes: int) -> dict[str, MapInfo]:
    """Units and ranges of the maps that `split_maps` makes."""
    entropy = (0.0, math.log(classes))
    return {
        "aleatoric_entropy": MapInfo(url=None, unit="nats", range=entropy, source="aleatoric"),
        "epistemic_entropy": MapInfo(url=None, unit="nats", range=entropy, source="epistemic"),
        "epistemic_variance": MapInfo(url=None, unit="1", range=(0.0, 0.5 * (1 - 1 / classes)), source="epistemic"),
        "expected_pairwise_kl": MapInfo(url=None, unit="nats", range=(0.0, LARGEST_KL), source="epistemic"),
    }


@torch.no_grad()
def split_maps(mean: Tensor, aleatoric: Covariance, epistemic: Covariance) -> dict[str, Tensor]:
    """The split of N(mean, aleatoric + epistemic), each map `[B, 1, *spatial]`, inside the ranges of `split_info`.

    - `aleatoric_entropy`: E_weights H(E[softmax | weights]), what knowing the weights would leave.
    - `epistemic_entropy`: predictive entropy - `aleatoric_entropy`, never negative.
    - `epistemic_variance`: of softmax(mean) under the weights alone, half the sum over classes.
    - `expected_pairwise_kl`: between the logits of two draws of the weights, tr(Sigma_aleatoric^-1 Sigma_epistemic) of
      the logit differences.

    Args:
        mean: logits `[B, C, *spatial]`, two classes or more.
        aleatoric: the labels' noise, of every class.
        epistemic: the weights'.
    """
    total = GaussianLogits(mean, Sum(aleatoric, epistemic)).moments().probability
    variance = GaussianLogits(mean, epistemic).moments().variance.sum(1, keepdim=True) / 2
    entropy = predictive_entropy(total).flatten(1)
    left, divergence = entropy.clone(), torch.empty_like(entropy)
    split = _split_of_two if mean.shape[1] == 2 else _split_of_many
    for b in range(len(mean)):
        for start in range(0, entropy.shape[1], _BLOCK):
            voxels = torch.arange(start, min(start + _BLOCK, entropy.shape[1]), device=mean.device)
            unsettled = entropy[b, voxels] > SETTLED
            divergence[b, voxels], left[b, voxels[unsettled]] = split(
                mean.flatten(2)[b, :, voxels], *(_at(part, b, voxels) for part in (aleatoric, epistemic)), unsettled
            )
    maps = {
        "aleatoric_entropy": torch.minimum(left, entropy),
        "epistemic_entropy": entropy - left,
        "epistemic_variance": variance.flatten(1),
        "expected_pairwise_kl": divergence,
    }
    shape = (len(mean), 1, *mean.shape[2:])
    return {name: maps[name].clamp(*info.range).reshape(shape) for name, info in split_info(mean.shape[1]).items()}


@torch.no_grad()
def pairwise_kl(mean: Tensor, aleatoric: Covariance, epistemic: Covariance) -> Tensor:
    """The map `expected_pairwise_kl` of `split_maps` alone, `[B, 1, *spatial]`."""
    found = torch.empty_like(mean[:, 0]).flatten(1)
    for b in range(len(mean)):
        for start in range(0, found.shape[1], _BLOCK):
            voxels = torch.arange(start, min(start + _BLOCK, found.shape[1]), device=mean.device)
            found[b, voxels] = _divergence(
                mean.flatten(2)[b, :, voxels], *(_at(part, b, voxels) for part in (aleatoric, epistemic))
            )
    return found.clamp(0.0, LARGEST_KL).reshape(len(mean), 1, *mean.shape[2:])


def _divergence(mean: Tensor, aleatoric: Marginal, epistemic: Marginal) -> Tensor:
    if len(mean) == 2:
        return _difference_variance(epistemic) / _difference_variance(aleatoric)
    top = most_likely(mean)
    own, weights = (quadrature.differences(mean, part, top)[1] for part in (aleatoric, epistemic))
    return _traced(own, weights)


def _traced(own: Tensor, weights: Tensor) -> Tensor:
    """tr(Sigma_aleatoric^-1 Sigma_epistemic) `[n]` from their Cholesky factors `[D, D, n]`."""
    ratio = torch.linalg.solve_triangular(own.permute(2, 0, 1), weights.permute(2, 0, 1), upper=False)
    return ratio.square().sum((1, 2))


def _at(covariance: Covariance, b: int, voxels: Tensor) -> Marginal:
    return covariance.marginal(voxels).item(b)


def _split_of_two(mean: Tensor, aleatoric: Marginal, epistemic: Marginal, unsettled: Tensor) -> tuple[Tensor, Tensor]:
    """Expected pairwise divergence of `[n]` voxels, and the aleatoric entropy of the unsettled ones."""
    delta = mean[1] - mean[0]
    own, weights = _difference_variance(aleatoric), _difference_variance(epistemic)
    return weights / own, _line_entropy(delta[unsettled], own[unsettled], weights[unsettled])


def _difference_variance(marginal: Marginal) -> Tensor:
    diagonal = marginal.diagonal.sum(0)
    return diagonal if marginal.factor is None else diagonal + (marginal.factor[1] - marginal.factor[0]).square().sum(0)


def _line_entropy(delta: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """E[H(E[sigma(x + y) | x])] for x ~ N(delta, outer), y ~ N(0, inner).

    Equidistant nodes converge faster here than Gauss-Hermite: the integrand is smooth on the whole line.
    """
    nodes = torch.linspace(-REACH, REACH, LINE_NODES, dtype=torch.float64)
    weights = torch.exp(-nodes.square() / 2)
    entropy, std = torch.zeros_like(delta), outer.sqrt()
    for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
        p = closed_form.sigmoid_moments_(delta + node * std, inner).probability
        entropy += weight * (torch.special.entr(p) + torch.special.entr(1 - p))
    return entropy


def _split_of_many(mean: Tensor, aleatoric: Marginal, epistemic: Marginal, unsettled: Tensor) -> tuple[Tensor, Tensor]:
    """As `_split_of_two`, for logits `[C, n]` of more classes."""
    top = most_likely(mean)
    delta, own = quadrature.differences(mean, aleatoric, top)
    _, weights = quadrature.differences(mean, epistemic, top)
    parts = (part[..., unsettled].split(_NESTED_BLOCK, -1) for part in (delta, own, weights))
    entropy = [_nested_entropy(*part) for part in zip(*parts, strict=True)]
    return _traced(own, weights), torch.cat(entropy)


def _nested_entropy(delta: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """E[H(E[softmax(x + y) | x])] `[n]` for x ~ N(delta, outer), y ~ N(0, inner) given relative to a reference class.

    Args:
        delta: `[D, n]`, the reference's own 0 left out.
        inner: Cholesky factor `[D, D, n]`.
        outer: the same for x.
    """
    size, voxels = delta.shape
    noise = (_nodes(INNER_NODES, delta) @ inner.transpose(0, 1).reshape(size, -1)).view(-1, size, voxels)
    odds = noise.clamp_max_(_LARGEST).exp_()
    entropy, nodes = torch.zeros_like(delta[0]), _nodes(OUTER_NODES, delta)
    for node in nodes:
        shift = (delta + torch.tensordot(outer, node, ([1], [0]))).clamp_max_(_LARGEST).exp_()
        reference = (odds * shift).sum(1).add_(1).reciprocal_()
        others = (odds * reference[:, None]).mean(0).mul_(shift)
        entropy += torch.special.entr(others).sum(0) + torch.special.entr(reference.mean(0))
    return entropy / len(nodes)


def _nodes(count: int, delta: Tensor) -> Tensor:
    count = max(count, 1 << (2 * len(delta) - 1).bit_length())  # fewer cannot have an identity covariance
    return torch.as_tensor(quadrature.normal_nodes(count, len(delta)), dtype=delta.dtype, device=delta.device)
