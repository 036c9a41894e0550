"""How wide the posterior shall be: prior precision and tempering, by held-out voxels or by evidence (METHODS 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.base import FeatureStream, Head
from uncertaintyseg.logits import Diagonal, GaussianLogits, LowRank, Sum
from uncertaintyseg.logits.covariance import Covariance
from uncertaintyseg.logits.weight_noise import WeightNoise

HELD_OUT = 2**16
"""Validation voxels that are kept, a uniform sample: enough for a mean, and the same for every candidate."""
PRECISIONS = tuple(10.0**k for k in range(-2, 6))
TEMPERINGS = tuple(10.0**k for k in range(-6, 1))
_REFINEMENTS = (10**0.5, 10**0.25)


class HeldOut:
    """A uniform sample of a stream's voxels: what the head makes of them without its posterior, and their classes.

    Raises:
        InputError: for an empty stream.
    """

    def __init__(self, head: Head, stream: FeatureStream, voxels: int = HELD_OUT, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        rows = None
        for features, target in stream:
            found = self._rows(head, features, target, torch.rand(target.numel(), generator=generator))
            rows = found if rows is None else torch.cat([rows, found], dim=1)
            if rows.shape[1] > voxels:
                rows = rows[:, rows[0].topk(voxels, largest=False).indices]
        if rows is None:
            raise InputError("the validation set is empty: the head is fitted to its voxels, so give it cases.")
        classes = head.classes
        rank = (len(rows) - 2 - head.features - 2 * classes) // classes
        sizes = [1, 1, head.features, classes, classes, rank * classes]
        _, target, features, mean, diagonal, factor = (part[None, ..., None, None] for part in rows.split(sizes))
        self.target, self.features, self.mean = target[:, 0].long(), features, mean
        self._parts: list[Covariance] = [Diagonal(diagonal)] if diagonal.any() else []
        if rank:
            self._parts.append(LowRank(factor.unflatten(1, (classes, rank))))

    @staticmethod
    def _rows(head: Head, features: Tensor, target: Tensor, key: Tensor) -> Tensor:
        """Key, class, features, mean, and the diagonal and factor of the covariance, one below the other: `[rows, n]`.

        Only the voxels that a sample of their own volume could keep are worth their memory.
        """
        key = key.where(target.flatten().cpu() >= 0, torch.inf)  # what is not labelled comes last, and not at all
        count = min(HELD_OUT, int(key.isfinite().sum()))
        chosen = key.topk(count, largest=False).indices.to(features.device)
        distribution = head(features).distribution
        mean = distribution.mean.flatten(2)[0][:, chosen]
        parts = [
            key.to(mean)[chosen][None],
            target.flatten()[chosen][None].to(mean),
            features.flatten(2)[0][: head.features, chosen],
        ]
        if distribution.covariance is None:
            return torch.cat([*parts, mean, torch.zeros_like(mean)])
        marginal = distribution.covariance.marginal(chosen)
        factor = [] if marginal.factor is None else [marginal.factor[0].flatten(0, 1)]
        return torch.cat([*parts, mean, marginal.diagonal[0], *factor])

    def nll(self, noise: WeightNoise | None = None) -> float:
        """Mean over voxels of -ln E[softmax]_t, with the noise of a posterior or without."""
        parts = [*self._parts, *([noise] if noise else [])]
        distribution = GaussianLogits(self.mean, Sum(*parts) if parts else None)
        return float(distribution.negative_log_likelihood(self.target).double().mean())


def cheapest(
    cost: Callable[[float, float], float], temperings: Iterable[float], precisions: Iterable[float]
) -> tuple[float, float]:
    """The pair of tempering and precision of least cost: a grid, then finer steps about its best point.

    A single value stays as it is. Where costs are equal, the first pair wins: the narrower posterior.
    """
    temperings, precisions = sorted(temperings, reverse=True), sorted(precisions, reverse=True)
    known = {pair: cost(*pair) for pair in product(temperings, precisions)}
    for step in _REFINEMENTS:
        tempering, precision = min(known, key=known.__getitem__)
        near = product(
            [tempering * f for f in (step, 1, 1 / step)] if len(temperings) > 1 else [tempering],
            [precision * f for f in (step, 1, 1 / step)] if len(precisions) > 1 else [precision],
        )
        for pair in near:
            if pair not in known and pair[0] <= 1:
                known[pair] = cost(*pair)
    return min(known, key=known.__getitem__)
