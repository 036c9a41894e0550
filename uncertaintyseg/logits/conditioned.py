"""Logit noise after something was learned at a few voxels, near them (METHODS 14; docs/adr/0009).

The shared latents may differ from place to place: eta_n = mu_n + P_n z(x_n) + e_n with z(x) Gaussian, z ~ N(0, I) at
each place and correlated exp(-d^2 / 2 reach^2) at a distance d. No voxel's own law depends on the reach; without limit
there is one z for the volume. What is learned of K numbers t_s = g_s . z(x_s) moves every voxel by its covariance with
them, c_ns = exp(-d_ns^2 / 2 reach^2) P_n g_s, and never more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from uncertaintyseg.logits.covariance import ALL, Covariance, Voxels
from uncertaintyseg.logits.marginal import Marginal
from uncertaintyseg.logits.quadrature import unrolled_cholesky

_BLOCK = 2**14
"""Voxels worked on at once; what fits the cache is fastest."""
_NEGLIGIBLE = 1e-10
_KEPT = 2**24
"""Places x voxels whose nearness is computed once."""
_AT_ONCE = 8


class Nearness:
    """exp(-d^2 / 2 reach^2) between places and all voxels of a grid.

    Args:
        places: indices of K voxels, `[K, 3]`.
        shape: of the grid.
        spacing: of its voxels, mm.
        reach: mm; infinite for 1 everywhere.
        dtype: of the answers.
    """

    def __init__(
        self,
        places: Tensor,
        shape: Sequence[int],
        spacing: Sequence[float],
        reach: float,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.shape = tuple(shape)
        self._axes = []
        for a, (size, step) in enumerate(zip(self.shape, spacing, strict=True)):
            away = (torch.arange(size, device=places.device) - places[:, a, None]).double() * (step / reach)
            self._axes.append(torch.exp(-0.5 * away.square()).to(dtype))

    @cached_property
    def _everywhere(self) -> Tensor:
        x, y, z = self._axes
        return (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(1)

    def at(self, voxels: Voxels = ALL) -> Tensor:
        """`[K, n]` for voxels given on the flattened grid."""
        x, y, z = self._axes
        if len(x) * math.prod(self.shape) <= _KEPT:
            return self._everywhere[:, voxels]
        if isinstance(voxels, slice):
            voxels = torch.arange(*voxels.indices(math.prod(self.shape)), device=x.device)
        row, k = voxels // self.shape[2], voxels % self.shape[2]
        return x[:, row // self.shape[1]] * y[:, row % self.shape[1]] * z[:, k]


class Conditioned(Covariance):
    """Sigma_n = Sigma_n(prior) - c_n (T^+ - T^+ U U^T T^+) c_n^T, where t had the covariance T and now has U U^T.

    Args:
        prior: the noise as it was; of one volume.
        seen: g, `[K, rank]`.
        near: how near each voxel is to the places of t.
        inverse: T^+, `[K, K]`, float64.
        spread: U, `[K, J]`, float64.
    """

    shared = True

    def __init__(self, prior: Covariance, seen: Tensor, near: Nearness, inverse: Tensor, spread: Tensor) -> None:
        self.prior, self.seen, self.near, self.inverse, self.spread = prior, seen, near, inverse, spread
        self.shape = prior.shape
        through = inverse @ spread
        sizes, directions = torch.linalg.eigh(inverse - through @ through.T)
        kept = sizes.abs() > _NEGLIGIBLE * inverse.abs().max()
        self._sizes, self._directions = sizes[kept].to(seen), directions[:, kept].to(seen)

    def _learned(self, voxels: Voxels) -> Tensor:
        """c_n along the eigenvectors of what was learned, `[B, C, J, n]`."""
        covariance = self.prior.mixed(self.seen.T, voxels) * self.near.at(voxels)
        return self._directions.T @ covariance

    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        count = self.shape[2:].numel()
        index = torch.arange(count, device=self.seen.device)[voxels] if isinstance(voxels, slice) else voxels
        parts = [self._marginal(part) for part in index.split(_BLOCK)]
        return Marginal(*(torch.cat([getattr(part, name) for part in parts], -1) for name in ("diagonal", "factor")))

    def _marginal(self, voxels: Tensor) -> Marginal:
        prior = self.prior.marginal(voxels)
        diagonal, factor = prior.diagonal, prior.factor
        learned = self._learned(voxels)
        weighted = learned * self._sizes[:, None]

        def entry(row: int, column: int) -> Tensor:
            value = -(learned[:, row] * weighted[:, column]).sum(1)
            if factor is not None:
                value = value + (factor[:, row] * factor[:, column]).sum(1)
            return value + diagonal[:, row] if row == column else value

        cholesky = unrolled_cholesky(entry, self.shape[1]).permute(2, 0, 1, 3)
        return Marginal(torch.zeros_like(diagonal), cholesky)

    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        learned = self._learned(voxels)
        ends = learned[:, 1] - learned[:, 0] if learned.shape[1] == 2 else learned[:, 0]
        gone = (ends.square() * self._sizes[:, None]).sum(1)
        return (self.prior.difference_variance(voxels) - gone).clamp_min_(0)

    def difference(self) -> Conditioned:
        return Conditioned(self.prior.difference(), self.seen, self.near, self.inverse, self.spread)

    def own(self) -> Covariance | None:
        return self.prior.own()

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        draw, own = next(self.shared_noise(1, ALL, generator)).reshape(self.shape), self.own()
        return draw if own is None else draw + own.noise(generator)

    def shared_noise(
        self, count: int, voxels: Voxels = ALL, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Draws `[C, n]` of what voxels share: of one z a volume, moved near the places to what t is now.

        The update of a localised ensemble filter: it pins t, and leaves what is far from it as the prior has it.
        """
        like, near = self.seen, self.near.at(voxels)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

        for z in normal(count, like.shape[1]).split(_AT_ONCE):
            new = normal(len(z), self.spread.shape[1]).double() @ self.spread.T
            gain = ((new - (z @ like.T).double()) @ self.inverse).to(like)
            for shared, weights in zip(self.prior.mixed(z.T, voxels)[0].unbind(1), gain, strict=True):
                yield shared + self._sum(weights, voxels, near)

    def shift(self, weights: Tensor) -> Tensor:
        """sum_s c_ns w_s `[C, N]` for weights w `[K]`: how the mean moves when T^+ t does by w."""
        count = self.shape[2:].numel()
        blocks = [slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
        return torch.cat([self._sum(weights, block, self.near.at(block)) for block in blocks], dim=-1)

    def _sum(self, weights: Tensor, voxels: Voxels, near: Tensor) -> Tensor:
        return (self.prior.mixed((self.seen * weights[:, None]).T, voxels)[0] * near).sum(1)
