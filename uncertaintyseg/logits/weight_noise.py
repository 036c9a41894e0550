"""Noise on logits that comes from uncertain weights of the output layer (METHODS 1.1, 4.1).

With phi~ = (phi, 1) the features of a voxel, delta eta = delta W phi~ is linear in the weights, so Gaussian weights
make exactly Gaussian logits. One draw of the weights serves the whole volume: samples are whole shapes. Sums over
features are done block by block, so no factor with as many columns as there are weights is ever held.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits.covariance import ALL, Covariance, Voxels
from uncertaintyseg.logits.marginal import DirectedMarginal, Marginal
from uncertaintyseg.logits.quadrature import unrolled_cholesky

_BLOCK = 2**12
"""Voxels worked on at once; what fits the cache is fastest."""


class WeightNoise(Covariance):
    """delta eta = D V, where D `[C, J]` holds class directions and V `[J, F + 1]` random weights times phi~.

    Args:
        features: phi, `[B, F, *spatial]`.
        directions: D, `[C, J]`; None lets every class have weights of its own (J = C).
        classes: C.
    """

    shared = True

    def __init__(self, features: Tensor, directions: Tensor | None, classes: int) -> None:
        self.features, self.directions = features, directions
        self.shape = torch.Size([features.shape[0], classes, *features.shape[2:]])

    @abstractmethod
    def of_latents(self, z: Tensor) -> Tensor:
        """V as a function of the latents: `[J, F + 1, K]` for K vectors `[rank, K]`, linear in them."""

    def weights(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw of delta W `[C, F + 1]`, the bias last."""
        like = self.features
        z = torch.randn((self.rank, 1), generator=generator, device=like.device, dtype=like.dtype)
        return self._classes(self.of_latents(z)[..., 0])

    def mixed(self, matrix: Tensor, voxels: Voxels = ALL) -> Tensor:
        weights = self._classes(self.of_latents(matrix)).transpose(1, 2)
        phi = self.features.flatten(2)[..., voxels]
        return _affine(weights.flatten(0, 1), phi).unflatten(1, weights.shape[:2])

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        draws = torch.stack([self.weights(generator) for _ in range(self.shape[0])])
        return _affine(draws, self.features.flatten(2)).reshape(self.shape)

    def _classes(self, of_directions: Tensor) -> Tensor:
        """From directions `[J, ...]` to classes `[C, ...]`."""
        if self.directions is None:
            return of_directions
        return torch.tensordot(self.directions, of_directions, 1)

    def _ends(self) -> Tensor:
        """What each direction adds to eta_1 - eta_0 (to eta for one sigmoid channel): `[J]`."""
        classes = self.shape[1]
        directions = torch.eye(classes).to(self.features) if self.directions is None else self.directions
        return directions[1] - directions[0] if classes == 2 else directions[0]


class JointWeightNoise(WeightNoise):
    """Any covariance between the weights: V = L z with one z ~ N(0, I) a volume.

    Args:
        features: phi, `[B, F, *spatial]`.
        factor: L, `[J, F + 1, K]`; the covariance of the weights (flattened) is L L^T.
        directions: D, `[C, J]`; None lets every class have weights of its own (J = C).
        triangular: L, flattened, is square and lower triangular; what is 0 is then not computed.
    """

    def __init__(
        self, features: Tensor, factor: Tensor, directions: Tensor | None = None, *, triangular: bool = False
    ) -> None:
        super().__init__(features, directions, len(factor if directions is None else directions))
        _check(features, factor.shape[:2], directions)
        self.factor, self.triangular, self.rank = factor, triangular, factor.shape[2]

    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        """Covariance of each voxel, as the Cholesky factor (J columns) of what the directions have at it."""
        blocks = self.features.flatten(2)[..., voxels].split(_BLOCK, dim=-1)
        factor = torch.cat([self._factor_at(phi) for phi in blocks], dim=-1)
        return Marginal(factor.new_zeros(()).expand(*factor.shape[:2], factor.shape[-1]), factor)

    def _factor_at(self, phi: Tensor) -> Tensor:
        """Factor `[B, C, J, n]` for features `[B, F, n]`."""
        parts = list(self.factor)
        if self.triangular:
            parts = [part[:, : (j + 1) * len(part)] for j, part in enumerate(parts)]
        rows = [_affine(part.T, phi) for part in parts]

        def entry(row: int, column: int) -> Tensor:
            return (rows[row][:, : rows[column].shape[1]] * rows[column]).sum(1)

        found = self._classes(unrolled_cholesky(entry, len(rows)).flatten(2))
        return found.unflatten(2, (-1, phi.shape[2])).permute(2, 0, 1, 3)

    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        factor = torch.tensordot(self._ends(), self.factor, 1)
        return _affine(factor.T, self.features.flatten(2)[..., voxels]).square_().sum(1)

    def difference(self) -> JointWeightNoise:
        return JointWeightNoise(self.features, self.factor, self._ends()[None], triangular=self.triangular)

    def of_latents(self, z: Tensor) -> Tensor:
        return self.factor @ z


class SeparableWeightNoise(WeightNoise):
    """Independent weights in rotated coordinates: V = (sqrt(s2) o z) U^T, z ~ N(0, 1) for each of J (F + 1) weights.

    Without a rotation and directions these are the weights themselves (a diagonal posterior); with the eigenvectors
    of the two factors, a Kronecker-factored one.

    Args:
        features: phi, `[B, F, *spatial]`.
        variance: s2, `[J, F + 1]`, not negative.
        rotation: U, `[F + 1, F + 1]`; None for none.
        directions: D, `[C, J]`; None lets every class have weights of its own (J = C).
    """

    def __init__(
        self, features: Tensor, variance: Tensor, rotation: Tensor | None = None, directions: Tensor | None = None
    ) -> None:
        super().__init__(features, directions, len(variance if directions is None else directions))
        _check(features, variance.shape, directions)
        self.variance, self.rotation, self.rank = variance, rotation, variance.numel()

    def _of_directions(self, voxels: Voxels) -> Tensor:
        """Variances `[B, J, n]` of the independent directions."""
        phi = self.features.flatten(2)[..., voxels]
        if self.rotation is None:
            return _affine(self.variance, phi.square())
        return self.variance @ _affine(self.rotation.T, phi).square_()

    def marginal(self, voxels: Voxels = ALL) -> Marginal:
        variance = self._of_directions(voxels)
        if self.directions is None:
            return Marginal(variance, None)
        nothing = variance.new_zeros(()).expand(len(variance), len(self.directions), variance.shape[-1])
        return DirectedMarginal(nothing, self.directions, variance)

    def difference_variance(self, voxels: Voxels = ALL) -> Tensor:
        return torch.einsum("j,bjn->bn", self._ends().square(), self._of_directions(voxels))

    def difference(self) -> SeparableWeightNoise:
        return SeparableWeightNoise(self.features, self.variance, self.rotation, self._ends()[None])

    def of_latents(self, z: Tensor) -> Tensor:
        weights = self.variance.sqrt()[..., None] * z.unflatten(0, self.variance.shape)
        return weights if self.rotation is None else self.rotation @ weights


def _affine(weights: Tensor, features: Tensor) -> Tensor:
    """Weights `[(B,) K, F + 1]` times (phi, 1), for features `[B, F, n]`: `[B, K, n]`."""
    return weights[..., :-1] @ features + weights[..., -1:]


def _check(features: Tensor, shape: torch.Size, directions: Tensor | None) -> None:
    if shape[1] != features.shape[1] + 1:
        raise InputError(
            f"the posterior is over {shape[1]} weights a class, the features make {features.shape[1] + 1} (bias "
            "included): they must agree."
        )
    if directions is not None and directions.shape[1] != shape[0]:
        raise InputError(
            f"there are {directions.shape[1]} class directions and weights for {shape[0]}: they must agree."
        )
