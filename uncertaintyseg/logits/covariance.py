"""Covariances of logits, each kept as the few numbers that define it (METHODS 1.1).

Every structure answers two questions about any set of voxels, and never holds a C x C matrix per voxel:
`marginal` gives a diagonal and a factor with Sigma_n = F F^T + diag(d), `difference_variance` the one number that
matters with two classes. What voxels share is eta_n = mu_n + P_n z + e_n with one z ~ N(0, I) (METHODS 14): `mixed`
multiplies with the rows P_n, `own` is the noise e. Voxels are addressed on the flattened spatial axis by a slice or an
index tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits.marginal import Marginal

Voxels = slice | Tensor
ALL = slice(None)
Noise = Literal["voxel", "cube", "volume"]


class Covariance(ABC):
    """Zero-mean Gaussian noise on logits `[B, C, *spatial]`."""

    shape: torch.Size
    """Shape of the logits it belongs to."""
    shared = False
    """Whether voxels share noise, so that whole-volume samples are coherent shapes and not speckle."""
    rank: int = 0
    """Entries of the shared latent z; 0 where voxels share nothing."""

    @abstractmethod
    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        """Covariance of each of the voxels."""

    @abstractmethod
    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        """Var[eta_1 - eta_0] `[B, n]` for two classes (Var[eta] for one sigmoid channel)."""

    @abstractmethod
    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw `[B, C, *spatial]`, differentiable in the parameters."""

    @abstractmethod
    def difference(self) -> Covariance:
        """The noise of eta_1 - eta_0, given two classes: that of one sigmoid channel, `[B, 1, *spatial]`."""

    def own(self) -> Covariance | None:
        """The noise that each voxel has for itself; None where all of it is shared."""
        return None if self.shared else self

    def mixed(self, matrix: Tensor, voxels: Voxels = ALL) -> Tensor:
        """P_n M `[B, C, K, n]`: how the shared latents, mixed by M `[rank, K]`, move the logits of the voxels."""
        shape = (*self.shape[:2], matrix.shape[1], _count(self.shape, voxels))
        return matrix.new_zeros(()).expand(shape)


def _count(shape: torch.Size, voxels: Voxels) -> int:
    return len(range(*voxels.indices(shape[2:].numel()))) if isinstance(voxels, slice) else len(voxels)


def _normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


class Diagonal(Covariance):
    """Independent noise for each class and voxel: Sigma_n = diag(d_n).

    Args:
        variance: d, `[B, C, *spatial]`; a variance, not a standard deviation (METHODS A3).
    """

    def __init__(self, variance: Tensor) -> None:
        self.variance, self.shape = variance, variance.shape

    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        return Marginal(self.variance.flatten(2)[..., voxels], None)

    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        return self.variance.flatten(2)[..., voxels].sum(1)

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        return self.variance.sqrt() * _normal(self.shape, self.variance, generator)

    def difference(self) -> Diagonal:
        return Diagonal(self.variance.sum(1, keepdim=True))


class LowRank(Covariance):
    """Noise shared by all voxels (SSN): eta = P z with one z ~ N(0, I_R) a volume; Sigma_n = P_n P_n^T.

    Args:
        factor: P, `[B, C, R, *spatial]`.
    """

    shared = True

    def __init__(self, factor: Tensor) -> None:
        self.factor, self.rank = factor, factor.shape[2]
        self.shape = torch.Size([*factor.shape[:2], *factor.shape[3:]])

    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        factor = self.factor.flatten(3)[..., voxels]
        return Marginal(factor.new_zeros(()).expand(*factor.shape[:2], factor.shape[-1]), factor)

    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        factor = self.factor.flatten(3)[..., voxels]
        difference = factor[:, 1] - factor[:, 0] if factor.shape[1] == 2 else factor[:, 0]
        return difference.square().sum(1)

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        z = _normal((self.shape[0], self.rank), self.factor, generator)
        return torch.einsum("bcrn,br->bcn", self.factor.flatten(3), z).reshape(self.shape)

    def difference(self) -> LowRank:
        return LowRank(self.factor[:, 1:] - self.factor[:, :1])

    def mixed(self, matrix: Tensor, voxels: Voxels = ALL) -> Tensor:
        return matrix.T @ self.factor.flatten(3)[..., voxels]


class Basis(Covariance):
    """Signed amplitudes on a basis of class directions: eta_n = B_q (a_n o z), Sigma_n = B_q diag(a_n^2) B_q^T.

    Single-Basis has one B for all voxels; Mixture-of-Bases cuts the volume into cubes q and mixes its bases anew in
    each, B_q = sum_m w_qm B_m (MoB eq. 4-7). `noise` says who shares z: nobody, as in MoB eq. 13, the voxels of a
    cube, or the volume. The marginals are the same for all three (METHODS 1.1).

    Args:
        amplitude: a, `[B, R, *spatial]`.
        basis: `[B, C, R, *cubes]`, one mixed basis for each cube of a grid over the volume; `cubes` may be all ones.
        noise: "voxel", "cube" or "volume".
    """

    def __init__(self, amplitude: Tensor, basis: Tensor, noise: Noise = "voxel") -> None:
        if basis.shape[2] != amplitude.shape[1]:
            raise InputError(f"basis has rank {basis.shape[2]}, amplitude has {amplitude.shape[1]}: they must agree.")
        self.amplitude, self.basis, self.scope = amplitude, basis, noise
        self.shape = torch.Size([amplitude.shape[0], basis.shape[1], *amplitude.shape[2:]])

    @property
    def shared(self) -> bool:
        return self.scope != "voxel"

    @property
    def rank(self) -> int:
        """Latents that voxels share: R of the volume, or R of each cube."""
        return {"voxel": 0, "cube": self.basis[0, 0].numel(), "volume": self.basis.shape[2]}[self.scope]

    @cached_property
    def _cube(self) -> Tensor | None:
        """Index of each voxel's cube `[N]` (floor(i P / L) on each axis); None when there is only one."""
        cubes, spatial = self.basis.shape[3:], self.amplitude.shape[2:]
        if cubes.numel() == 1:
            return None
        index = torch.zeros(spatial, dtype=torch.long, device=self.basis.device)
        for axis, (parts, size) in enumerate(zip(cubes, spatial, strict=True)):
            step = torch.arange(size, device=index.device) * parts // size
            index = index * parts + step.reshape([-1 if a == axis else 1 for a in range(len(spatial))])
        return index.flatten()

    def _per_voxel(self, per_cube: Tensor, voxels: Voxels) -> Tensor:
        """Spread `[..., cubes]` (flattened) over the voxels; one value to broadcast when there is one cube."""
        return per_cube if self._cube is None else per_cube[..., self._cube[voxels]]

    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        factor = self._per_voxel(self.basis.flatten(3), voxels) * self.amplitude.flatten(2)[:, None, :, voxels]
        return Marginal(factor.new_zeros(()).expand(*factor.shape[:2], factor.shape[-1]), factor)

    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        basis = self.basis.flatten(3)
        weight = (basis[:, 1] - basis[:, 0] if basis.shape[1] == 2 else basis[:, 0]).square()
        power = self.amplitude.flatten(2)[..., voxels].square()
        if self._cube is None:
            return (weight.transpose(1, 2) @ power)[:, 0]
        return (self._per_voxel(weight, voxels) * power).sum(1)

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        batch, rank = self.amplitude.shape[:2]
        amplitude = self.amplitude.flatten(2)
        sites = {"volume": 1, "cube": self.basis.flatten(3).shape[-1], "voxel": amplitude.shape[-1]}[self.scope]
        z = _normal((batch, rank, sites), amplitude, generator)
        if self.scope == "cube":
            z = self._per_voxel(z, ALL)
        weighted = amplitude * z
        if self._cube is None:
            return torch.einsum("bcr,brn->bcn", self.basis.flatten(2), weighted).reshape(self.shape)
        return (self._per_voxel(self.basis.flatten(3), ALL) * weighted[:, None]).sum(2).reshape(self.shape)

    def difference(self) -> Basis:
        return Basis(self.amplitude, self.basis[:, 1:] - self.basis[:, :1], self.scope)

    def mixed(self, matrix: Tensor, voxels: Voxels = ALL) -> Tensor:
        if not self.shared:
            return super().mixed(matrix, voxels)
        factor = self.marginal(voxels).factor
        if self.scope == "volume" or self._cube is None:
            return matrix.T @ factor
        cubes, rows = self._cube[voxels], matrix.unflatten(0, (factor.shape[2], -1))
        out = factor.new_empty(*factor.shape[:2], matrix.shape[1], factor.shape[3])
        for cube in cubes.unique():
            here = (cubes == cube).nonzero()[:, 0]
            out[..., here] = rows[:, cube].T @ factor[..., here]
        return out


class Sum(Covariance):
    """Independent sources added, e.g. a shared factor and a diagonal, or aleatoric and epistemic noise."""

    def __init__(self, *parts: Covariance) -> None:
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) != 1:
            raise InputError(f"covariances of different logits cannot be added: shapes {sorted(shapes)}.")
        self.parts, self.shape = parts, parts[0].shape

    @property
    def shared(self) -> bool:
        return any(part.shared for part in self.parts)

    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        parts = [part.marginal(voxels) for part in self.parts]
        factored = [part for part in parts if part.rank]
        if len(factored) == 1:
            (only,) = factored
            return only.plus(sum(part.diagonal for part in parts if part is not only))
        diagonal = torch.stack([part.diagonal for part in parts]).sum(0)
        return Marginal(diagonal, torch.cat([part.factor for part in factored], dim=2) if factored else None)

    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        return torch.stack([part.difference_variance(voxels) for part in self.parts]).sum(0)

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        return torch.stack([part.noise(generator) for part in self.parts]).sum(0)

    @property
    def rank(self) -> int:
        return sum(part.rank for part in self.parts)

    def difference(self) -> Sum:
        return Sum(*(part.difference() for part in self.parts))

    def own(self) -> Covariance | None:
        parts = [own for part in self.parts if (own := part.own()) is not None]
        return Sum(*parts) if parts else None

    def mixed(self, matrix: Tensor, voxels: Voxels = ALL) -> Tensor:
        rows = matrix.split([part.rank for part in self.parts])
        parts = [part.mixed(own, voxels) for part, own in zip(self.parts, rows, strict=True) if part.rank]
        return sum(parts[1:], start=parts[0]) if parts else super().mixed(matrix, voxels)
