"""Gaussian logits: one mean, one covariance structure, and every voxel moment without sampling."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits import closed_form, quadrature
from uncertaintyseg.logits.covariance import ALL, Covariance, Diagonal, Sum
from uncertaintyseg.logits.marginal import Marginal
from uncertaintyseg.logits.moments import Moments, most_likely
from uncertaintyseg.logits.training_nodes import at_enough_nodes

_CLOSED_BLOCK = 2**14
_TAIL_BLOCK = 2**14
_NODE_BLOCK = 2**20
"""Voxels x classes x nodes worked on at once; what fits the cache is fastest and bounds the memory."""


class LogitDistribution(Protocol):
    """What every method here is: a distribution over logits `[B, C, *spatial]`."""

    mean: Tensor

    def moments(self) -> Moments:
        """Moments of the class probabilities at each voxel."""

    def sample(self, count: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
        """Draws of the logits, one at a time."""


class GaussianLogits:
    """N(mean, covariance) over logits.

    Args:
        mean: mu, `[B, C, *spatial]`; one channel stands for a single sigmoid logit.
        covariance: one of the structures in `covariance.py`; None puts all mass on the mean.
    """

    def __init__(self, mean: Tensor, covariance: Covariance | None = None) -> None:
        if covariance is not None and covariance.shape != mean.shape:
            raise InputError(
                f"the covariance belongs to logits of shape {tuple(covariance.shape)}, the mean is {tuple(mean.shape)}."
            )
        self.mean, self.covariance = mean, covariance

    @property
    def coherent(self) -> bool:
        """Whether samples are whole shapes (noise shared by voxels) and not independent speckle."""
        return self.covariance is not None and self.covariance.shared

    def marginals(self) -> Marginal | None:
        """Covariance of each voxel's logits on the flattened spatial axis; None for a point mass."""
        return None if self.covariance is None else self.covariance.marginal()

    def sample(self, count: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
        """Draw `count` logits `[B, C, *spatial]`, one at a time.

        Noise that no voxels share is collapsed to C normals a voxel (METHODS 1.3): the same law as drawing each
        of its sources, several times faster.
        """
        for _ in range(count):
            draw = self.mean
            for part in self._drawn:
                draw = draw + part.noise(generator)
            if self._cholesky is not None:
                batch, classes, voxels = self.mean.flatten(2).shape
                z = torch.randn((batch, classes, voxels), generator=generator, device=draw.device, dtype=draw.dtype)
                draw = draw + torch.einsum("cdbn,bdn->bcn", self._cholesky, z).reshape(draw.shape)
            yield draw

    @cached_property
    def _parts(self) -> tuple[Covariance, ...]:
        if self.covariance is None:
            return ()
        return self.covariance.parts if isinstance(self.covariance, Sum) else (self.covariance,)

    @cached_property
    def _drawn(self) -> tuple[Covariance, ...]:
        """Sources drawn as they are: those that voxels share, and a diagonal that there is nothing to collapse with."""
        alone = all(part.shared or isinstance(part, Diagonal) for part in self._parts)
        return self._parts if alone else tuple(part for part in self._parts if part.shared)

    @cached_property
    def _cholesky(self) -> Tensor | None:
        """Cholesky factor `[C, C, B, N]` of the other sources together."""
        parts = [part for part in self._parts if part not in self._drawn]
        if not parts:
            return None
        marginal = _voxels_last(Sum(*parts).marginal())
        flat = quadrature.cholesky(marginal.diagonal, torch.zeros_like(marginal.diagonal[0]), marginal.factor)
        return flat.unflatten(-1, (self.mean.shape[0], -1))

    def moments(self, nodes: int | None = None) -> Moments:
        """Moments at each voxel: in closed form up to two classes, at fixed QMC nodes (`default_nodes`) for more.

        Memory beyond the result does not grow with the rank or the nodes. Differentiable up to two classes.
        """
        if self.covariance is None:
            return Moments.of_point(self.mean)
        if self.mean.shape[1] <= 2:
            return self._moments_closed()
        with torch.no_grad():
            return self._moments_at_nodes(nodes or quadrature.default_nodes(self.mean.shape[1]))

    def difference(self, voxels: slice | Tensor = ALL) -> tuple[Tensor, Tensor]:
        """Mean and variance `[B, n]` of eta_1 - eta_0 (of the one logit for a sigmoid channel)."""
        mean = self.mean.flatten(2)[..., voxels]
        delta = mean[:, 1] - mean[:, 0] if mean.shape[1] == 2 else mean[:, 0]
        return delta, torch.zeros_like(delta) if self.covariance is None else self.covariance.difference_variance(
            voxels
        )

    def _moments_closed(self) -> Moments:
        batch, _, *spatial = self.mean.shape
        total = self.mean[0, 0].numel()
        if torch.is_grad_enabled():
            found = closed_form.sigmoid_moments(*self.difference())
            out = torch.stack([found.probability, found.derivative, found.entropy], dim=1)
        else:
            out = self.mean.new_empty(batch, 3, total)
            for start in range(0, total, _CLOSED_BLOCK):
                block = slice(start, start + _CLOSED_BLOCK)
                torch.stack(closed_form.sigmoid_moments_(*self.difference(block)), dim=1, out=out[..., block])
        p, derivative, entropy = out.reshape(batch, 3, *spatial).split(1, dim=1)
        probability = torch.cat([1 - p, p], dim=1)
        return Moments(probability, probability - derivative, entropy)  # E[sigma^2] = E[sigma] - E[sigma']

    def _moments_at_nodes(self, nodes: int) -> Moments:
        batch, classes, *spatial = self.mean.shape
        total = self.mean[0, 0].numel()
        probability = self.mean.new_empty(batch, classes, total)
        second, entropy = torch.empty_like(probability), self.mean.new_empty(batch, total)
        for b in range(batch):
            for start in range(0, total, _TAIL_BLOCK):
                block = slice(start, start + _TAIL_BLOCK)
                p, s, h = _moments_of(*self._at(b, block), nodes)
                probability[b, :, block], second[b, :, block], entropy[b, block] = p, s, h
        shape = (batch, -1, *spatial)
        return Moments(probability.reshape(shape), second.reshape(shape), entropy.reshape(shape))

    def _at(self, b: int, voxels: slice | Tensor) -> tuple[Tensor, Marginal]:
        return self.mean.flatten(2)[b, :, voxels], self.covariance.marginal(voxels).item(b)

    def expected_cross_entropy(self, target: Tensor) -> Tensor:
        """E[-ln softmax(eta)_t] `[B, *spatial]` at each voxel, differentiable (METHODS 1.2; 1.5).

        Args:
            target: class indices `[B, *spatial]`.
        """
        if self.covariance is None:
            return self._cross_entropy(target)
        if self.mean.shape[1] <= 2:
            delta, variance = self.difference()
            t = target.flatten(1)
            return (closed_form.expected_softplus(delta, variance) - t * delta).reshape(target.shape)
        delta, cholesky, chosen = self._relative_to_class_0(target)
        loss = at_enough_nodes(quadrature.expected_logsumexp, delta, cholesky)
        own = torch.cat([torch.zeros_like(delta[:1]), delta]).gather(0, chosen)[0]
        return (loss - own).reshape(target.shape)

    def negative_log_likelihood(self, target: Tensor) -> Tensor:
        """-ln E[softmax(eta)_t] `[B, *spatial]` at each voxel, differentiable: the marginal likelihood (METHODS 1.6).

        Args:
            target: class indices `[B, *spatial]`.
        """
        if self.covariance is None:
            return self._cross_entropy(target)
        if self.mean.shape[1] <= 2:
            delta, variance = self.difference()
            sign = target.flatten(1) * 2 - 1
            return -closed_form.log_expected_sigmoid(sign * delta, variance).reshape(target.shape)
        delta, cholesky, chosen = self._relative_to_class_0(target)
        log_p = at_enough_nodes(quadrature.log_expected_softmax, delta, cholesky)
        return -log_p.gather(0, chosen)[0].reshape(target.shape)

    def _cross_entropy(self, target: Tensor) -> Tensor:
        """Both likelihoods of a point mass, in memory ~ C: nodes over differences of classes would take ~ C^2."""
        if self.mean.shape[1] > 1:
            return functional.cross_entropy(self.mean, target, reduction="none")
        return functional.binary_cross_entropy_with_logits(
            self.mean[:, 0], target.to(self.mean.dtype), reduction="none"
        )

    def _relative_to_class_0(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = self.mean.flatten(2).transpose(0, 1).flatten(1)
        marginal = _voxels_last(self.covariance.marginal())
        reference = torch.zeros(mean.shape[1], dtype=torch.long, device=mean.device)
        return *quadrature.differences(mean, marginal, reference), target.reshape(1, -1)


def _voxels_last(marginal: Marginal) -> Marginal:
    """`[B, C, (K,) n]` to `[C, (K,) B n]`."""
    factor = marginal.factor
    if factor is not None:
        factor = factor.permute(1, 2, 0, 3).flatten(2)
    return Marginal(marginal.diagonal.transpose(0, 1).flatten(1), factor)


def _moments_of(mean: Tensor, marginal: Marginal, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """E[p], E[p^2] `[C, n]` and E[H] `[n]`: the expansion, and nodes where it is off by too much.

    Nodes are spent on the classes that compete at a voxel; on all where the others could hold too much together.
    """
    top = most_likely(mean)
    p, second, entropy, error = quadrature.tail_moments(mean, top, marginal.difference_variances(top))
    active = (error > quadrature.TAIL).nonzero()[:, 0]
    if len(mean) > quadrature.TOP + 1:
        # The top class always competes: its own share of the expansion may be 0 where the others' exceed 1.
        shares = p[:, active].scatter_(0, top[None, active], 2.0)
        classes = shares.topk(quadrature.TOP + 1, dim=0).indices
        rest = shares.scatter_(0, classes, 0.0).sum(0)
        few, kept = rest <= quadrature.REST, 1 - rest
        size = _node_block(nodes, len(classes))
        blocks = (part.split(size, -1) for part in (active[few], classes[:, few], kept[few]))
        for voxels, chosen, share in zip(*blocks, strict=True):
            inner = mean[:, voxels].gather(0, chosen), marginal.at(voxels).of_classes(chosen)
            p_in, second_in, entropy[voxels] = _at_nodes(*inner, torch.zeros_like(voxels), nodes)
            p[chosen, voxels], second[chosen, voxels] = p_in * share, second_in * share.square()
        active = active[~few]
    for voxels in active.split(_node_block(nodes, len(mean))):
        found = _at_nodes(mean[:, voxels], marginal.at(voxels), top[voxels], nodes)
        p[:, voxels], second[:, voxels], entropy[voxels] = found
    return p, second, entropy


def _node_block(nodes: int, classes: int) -> int:
    return max(1, _NODE_BLOCK // (nodes * classes))


def _at_nodes(mean: Tensor, marginal: Marginal, top: Tensor, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    p, second, entropy = quadrature.softmax_moments(*quadrature.differences(mean, marginal, top), nodes)
    order = torch.cat([top[None], quadrature.all_but(top, len(mean))])
    return torch.empty_like(p).scatter_(0, order, p), torch.empty_like(p).scatter_(0, order, second), entropy
