"""Covariance of single voxels' logits, as the few numbers that define it: diag(d) + F F^T (METHODS 1.1).

A C x C matrix per voxel is never held but in tests. `Marginal` holds F itself; where all voxels have the same class
directions, `DirectedMarginal` holds those once, and a variance for each at every voxel: with 25 classes that is 24
numbers a voxel instead of 600.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Marginal:
    """Covariance diag(d) + F F^T of each voxel.

    Args:
        diagonal: d, `[B, C, n]`; `[C, n]` of one item of a batch.
        factor: F, `[B, C, K, n]` (`[C, K, n]`); None for none.
    """

    def __init__(self, diagonal: Tensor, factor: Tensor | None) -> None:
        self.diagonal, self._factor = diagonal, factor

    @property
    def factor(self) -> Tensor | None:
        """F, or None."""
        return self._factor

    @property
    def rank(self) -> int:
        """Columns of F; 0 without one."""
        return 0 if self._factor is None else self._factor.shape[-2]

    def plus(self, diagonal: Tensor) -> Marginal:
        """With independent noise of variances `diagonal` besides."""
        return self._of(self.diagonal + diagonal, lambda values: values)

    def item(self, b: int) -> Marginal:
        """Of one item of the batch."""
        return self._of(self.diagonal[b], lambda values: values[b])

    def at(self, voxels: Tensor) -> Marginal:
        """Of some of the voxels, by index."""
        return self._of(self.diagonal[..., voxels], lambda values: values[..., voxels])

    def of_classes(self, classes: Tensor) -> Marginal:
        """Of other classes at each voxel, `[k, n]`; of one item: `[k, n]` and `[k, K, n]`."""
        diagonal, factor = self.diagonal.gather(0, classes), self.factor
        if factor is not None:
            factor = factor.gather(0, classes[:, None].expand(-1, factor.shape[1], -1))
        return Marginal(diagonal, factor)

    def difference_variances(self, reference: Tensor) -> Tensor:
        """Var[eta_c - eta_r] `[C, n]` for the class r given at each voxel, `[n]`; 0 for r itself; of one item."""
        variance = self.diagonal + self.diagonal.gather(0, reference[None])
        if self.factor is not None:
            own = self.factor.gather(0, reference[None, None].expand(-1, self.factor.shape[1], -1))
            variance = variance + (self.factor - own).square_().sum(1)
        return variance.scatter(0, reference[None], 0)

    def dense(self) -> Tensor:
        """Sigma `[B, n, C, C]`; for tests and small sets of voxels only."""
        sigma = torch.diag_embed(self.diagonal.transpose(1, 2))
        if self.factor is None:
            return sigma
        return sigma + torch.einsum("bckn,bdkn->bncd", self.factor, self.factor)

    def _of(self, diagonal: Tensor, change: Callable[[Tensor], Tensor]) -> Marginal:
        return type(self)(diagonal, None if self._factor is None else change(self._factor))


class DirectedMarginal(Marginal):
    """Covariance diag(d) + D diag(v) D^T, with one D for all voxels.

    Args:
        diagonal: d, `[B, C, n]`; `[C, n]` of one item.
        directions: D, `[C, K]`; contrasts, for what all classes share takes digits from their differences.
        variance: v, `[B, K, n]` (`[K, n]`), not negative.
    """

    def __init__(self, diagonal: Tensor, directions: Tensor, variance: Tensor) -> None:
        super().__init__(diagonal, None)
        self.directions, self.variance = directions, variance

    @property
    def factor(self) -> Tensor:
        return self.directions[:, :, None] * self.variance.sqrt().unsqueeze(-3)

    @property
    def rank(self) -> int:
        return self.directions.shape[1]

    def of_classes(self, classes: Tensor) -> Marginal:
        factor = self.directions[classes] * self.variance.sqrt().T
        return Marginal(self.diagonal.gather(0, classes), factor.transpose(1, 2))

    def difference_variances(self, reference: Tensor) -> Tensor:
        own = self.directions.square() @ self.variance + self.diagonal
        with_reference = self.directions @ (self.variance * self.directions[reference].T)
        variance = own + own.gather(0, reference[None]) - 2 * with_reference
        return variance.clamp_min_(0).scatter_(0, reference[None], 0)

    def _of(self, diagonal: Tensor, change: Callable[[Tensor], Tensor]) -> Marginal:
        return type(self)(diagonal, self.directions, change(self.variance))
