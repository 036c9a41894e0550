"""A distribution over logits that comes as a stream: passes of dropout, symmetries, noise, or several networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.logits.gaussian import LogitDistribution
from uncertaintyseg.logits.moments import Moments

Weighting = Callable[[Moments], Tensor]
"""How much a pass counts, from its own moments: weights `[B, 1, *spatial]`, positive, before normalisation."""


class LogitEnsemble:
    """The mixture of its passes, read one at a time (METHODS 1.7, 5.3).

    One reading keeps running sums of E[p], E[p^2], E[H(p)] and of the mean logits, so memory does not grow with the
    number of passes. A pass may be a distribution itself: averaging E[p^2] is the law of total variance, and the
    average of E[H(p)] is the entropy expected within passes, so that mutual information is their disagreement.

    Args:
        passes: starts the stream anew; the same passes every time.
        count: of the passes.
        weighting: None counts all passes alike.
        also: a figure of each pass, from its own moments, of which `beside` is the average by the same weights.

    Raises:
        InputError: for no passes; on reading, for passes of different shapes or weights that are not positive.
    """

    coherent = False
    """Only what voxels have by themselves is kept, no shapes."""

    def __init__(
        self,
        passes: Callable[[], Iterator[LogitDistribution]],
        count: int,
        weighting: Weighting | None = None,
        also: Callable[[Moments], Tensor] | None = None,
    ) -> None:
        if count < 1:
            raise InputError(f"'passes' is {count}: an ensemble needs at least 1.")
        self.passes, self.count, self.weighting, self.also = passes, count, weighting, also

    @property
    def mean(self) -> Tensor:
        """Average of the passes' mean logits, `[B, C, *spatial]`."""
        return self._averages[1]

    @property
    def beside(self) -> Tensor | None:
        """Average over the passes of what `also` says of each, `[B, k, *spatial]`; None without it."""
        return self._averages[2]

    def moments(self) -> Moments:
        """Moments of the mixture at each voxel."""
        return self._averages[0]

    def sample(self, count: int, generator: torch.Generator | None = None) -> Iterator[Tensor]:
        """Draw `count` logits `[B, C, *spatial]`, each of a pass picked at random, in the order of the passes.

        Raises:
            InputError: with a weighting, which differs from voxel to voxel and so has no whole samples.
        """
        if self.weighting is not None:
            raise InputError("passes weighted voxel by voxel have no whole samples; use the weighting 'mean'.")
        device = torch.device("cpu") if generator is None else generator.device
        picks = torch.randint(self.count, (count,), generator=generator, device=device).bincount(minlength=self.count)
        for distribution, times in zip(self.passes(), picks.tolist(), strict=False):
            yield from distribution.sample(times, generator)

    @cached_property
    def _averages(self) -> tuple[Moments, Tensor, Tensor | None]:
        """Moments, mean logits and what `also` says, from one reading of the stream."""
        total: Tensor | float = 0.0
        sums: list[Tensor] = []
        for number, distribution in enumerate(self.passes(), start=1):
            moments = distribution.moments()
            found = [moments.stacked(), distribution.mean, *([self.also(moments)] if self.also else [])]
            if self.weighting is not None:
                weight = self.weighting(moments)
                found = [weight * value for value in found]
                total = total + weight
            else:
                total += 1.0
            if not sums:
                sums = [value.clone() for value in found]
            elif sums[1].shape != found[1].shape:
                raise InputError(
                    f"pass {number} gives logits of shape {tuple(found[1].shape)}, the first {tuple(sums[1].shape)}: "
                    "all passes need the same classes and the same grid."
                )
            else:
                for average, value in zip(sums, found, strict=True):
                    average.add_(value)
        if isinstance(total, Tensor) and not bool(((total > 0) & total.isfinite()).all()):
            raise InputError("the weights of the passes are zero or not finite at some voxel: they must be positive.")
        stack, mean, *beside = (value / total for value in sums)
        return Moments.unstacked(stack), mean, beside[0] if beside else None
