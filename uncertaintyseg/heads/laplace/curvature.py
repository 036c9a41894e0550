"""Curvature of the training loss in the weights of the output layer, and the Gaussian posterior it makes.

The loss is the SUM over voxels of the cross-entropy. For a linear layer the generalised Gauss-Newton matrix is the
exact Hessian, H = sum_n (diag p_n - p_n p_n^T) (x) phi~_n phi~_n^T with phi~ = (phi, 1), and the posterior covariance
is (s H + tau I)^-1: tau the precision of the prior, s < 1 a tempering, because neighbouring voxels are no independent
observations (METHODS 4.1; Daxberger et al. 2021).

Adding the same to all logits changes no probability, and H is zero along it. The joint structures leave that direction
out: they live on C - 1 orthonormal contrasts of the classes, which gives the same probabilities exactly and spares
float32 the difference of two large variances.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from uncertaintyseg.errors import BundleError, InputError

_SINGULAR = 1e-13


def contrasts(classes: int) -> Tensor:
    """Orthonormal directions of class differences `[C, C - 1]` (Helmert), float64."""
    matrix = torch.zeros(classes, classes - 1, dtype=torch.float64)
    for j in range(1, classes):
        matrix[:j, j - 1], matrix[j, j - 1] = -1, j
    return matrix / matrix.square().sum(0).sqrt()


class Curvature(ABC):
    """One structure of H, summed over voxels in float64; `solve` turns it into a posterior."""

    def __init__(self, features: int, classes: int) -> None:
        self.features, self.classes = features, classes
        self.voxels = 0

    def add(self, features: Tensor, probability: Tensor) -> None:
        """Add voxels: features `[F, n]` and class probabilities `[C, n]`."""
        self.voxels += features.shape[1]
        self._add(torch.cat([features, features.new_ones(1, features.shape[1])]), probability)

    @abstractmethod
    def _add(self, augmented: Tensor, probability: Tensor) -> None:
        """Add voxels, given phi~ `[F + 1, n]`."""

    @property
    @abstractmethod
    def eigenvalues(self) -> Tensor:
        """Of H, without the null direction, in any order."""

    @abstractmethod
    def _solved(self, precision: Tensor) -> dict[str, Tensor]:
        """The posterior, given the eigenvalues of its inverse covariance, in the order of `eigenvalues`."""

    def solve(self, tempering: float, precision: float) -> dict[str, Tensor]:
        """The posterior (s H + tau I)^-1 as the tensors that its structure is kept in.

        Raises:
            InputError: for a curvature that is not finite, or a posterior that is singular.
        """
        if not torch.isfinite(self.eigenvalues).all():
            raise InputError("the curvature is not finite: the features of the training set hold NaN or infinity.")
        total = tempering * self.eigenvalues + precision
        if total.min() <= _SINGULAR * total.max():
            raise InputError(
                f"the posterior is singular at prior precision {precision:g}: some weights have no effect on the "
                "training set, so raise 'prior_precision' (or leave it to be chosen)."
            )
        return self._solved(total)

    def log_occam(self, tempering: float, precision: float) -> float:
        """Logarithm of det(s H / tau + I), of which the evidence pays half."""
        return float((tempering * self.eigenvalues / precision).log1p().sum())


class DiagonalCurvature(Curvature):
    """Only the diagonal of H: H[c, f] = sum_n p_nc (1 - p_nc) phi~_nf^2."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.diagonal = torch.zeros(classes, features + 1, dtype=torch.float64)

    def _add(self, augmented: Tensor, probability: Tensor) -> None:
        part = (probability * (1 - probability)) @ augmented.square().T
        self.diagonal += part.cpu().double()

    @property
    def eigenvalues(self) -> Tensor:
        return self.diagonal

    def _solved(self, precision: Tensor) -> dict[str, Tensor]:
        return {"variance": precision.reciprocal()}


class FullCurvature(Curvature):
    """All of H, on the contrasts: (C - 1)(F + 1) rows."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        count = classes - 1
        self.hessian = torch.zeros(count, features + 1, count, features + 1, dtype=torch.float64)

    def _add(self, augmented: Tensor, probability: Tensor) -> None:
        weight = _contrast_curvature(probability)
        for i in range(self.classes - 1):
            for j in range(i + 1):
                block = ((augmented * weight[i, j]) @ augmented.T).cpu().double()
                self.hessian[i, :, j] += block
                if i != j:
                    self.hessian[j, :, i] += block.T
        self.__dict__.pop("_decomposed", None)

    @cached_property
    def _decomposed(self) -> tuple[Tensor, Tensor]:
        size = (self.classes - 1) * (self.features + 1)
        if not torch.isfinite(self.hessian).all():
            return torch.full((size,), torch.nan, dtype=torch.float64), torch.eye(size, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(self.hessian.reshape(size, size))
        return values.clamp_min(0), vectors

    @property
    def eigenvalues(self) -> Tensor:
        return self._decomposed[0]

    def _solved(self, precision: Tensor) -> dict[str, Tensor]:
        root = self._decomposed[1] * precision.rsqrt()
        factor = torch.linalg.qr(root.T).R.T  # lower triangular: half of it need not be multiplied
        return {"factor": factor.unflatten(0, (self.classes - 1, -1))}


class KroneckerCurvature(Curvature):
    """KFAC: (mean of phi~ phi~^T) (x) (mean of diag p - p p^T), times the number of voxels, on the contrasts."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.inputs = torch.zeros(features + 1, features + 1, dtype=torch.float64)
        self.outputs = torch.zeros(classes - 1, classes - 1, dtype=torch.float64)

    def _add(self, augmented: Tensor, probability: Tensor) -> None:
        self.inputs += (augmented @ augmented.T).cpu().double()
        p = probability.double()
        directions = contrasts(self.classes).to(p)
        along = directions.T @ p
        total = directions.T @ (p.sum(1)[:, None] * directions) - along @ along.T  # no voxel's matrix by itself
        self.outputs += total.cpu()
        self.__dict__.pop("_decomposed", None)

    @cached_property
    def _decomposed(self) -> tuple[Tensor, Tensor, Tensor]:
        if not (torch.isfinite(self.inputs).all() and torch.isfinite(self.outputs).all()):
            return torch.full((1,), torch.nan, dtype=torch.float64), self.outputs, self.inputs
        outputs, directions = torch.linalg.eigh(self.outputs)
        inputs, rotation = torch.linalg.eigh(self.inputs)
        values = torch.outer(outputs.clamp_min(0), inputs.clamp_min(0)) / max(self.voxels, 1)
        return values, contrasts(self.classes) @ directions, rotation

    @property
    def eigenvalues(self) -> Tensor:
        return self._decomposed[0]

    def _solved(self, precision: Tensor) -> dict[str, Tensor]:
        _, directions, rotation = self._decomposed
        return {"variance": precision.reciprocal(), "rotation": rotation, "directions": directions}


def _contrast_curvature(probability: Tensor) -> Tensor:
    """Q^T (diag p - p p^T) Q `[C - 1, C - 1, n]` for probabilities `[C, n]` and the contrasts Q."""
    directions = contrasts(probability.shape[0]).to(probability)
    along = directions.T @ probability
    return torch.einsum("ci,cj,cn->ijn", directions, directions, probability) - along[:, None] * along[None]


CURVATURES: dict[str, type[Curvature]] = {
    "full": FullCurvature,
    "diagonal": DiagonalCurvature,
    "kronecker": KroneckerCurvature,
}


def make_curvature(structure: str, features: int, classes: int) -> Curvature:
    """An empty curvature of the structure "full", "diagonal" or "kronecker".

    Raises:
        BundleError: for another structure.
    """
    if structure not in CURVATURES:
        raise BundleError(f"there is no posterior structure '{structure}'; there are {', '.join(CURVATURES)}.")
    return CURVATURES[structure](features, classes)
