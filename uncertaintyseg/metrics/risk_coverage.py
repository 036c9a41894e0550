"""What is left wrong when the riskiest items are set aside: AURC, E-AURC and AUGRC.

Items are voxels with loss 0 or 1, or cases with loss 1 - Dice. At coverage k / N the k items of least risk are kept;
the selective risk is their mean loss, the generalised risk their loss over all N. Items of equal risk come in random
order, and every figure is the mean over all such orders, exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import digamma


class Ranking(NamedTuple):
    """Items from least to most risk, those of equal risk taken together."""

    count: np.ndarray
    """Items of each risk; 0 stands for a risk that nothing has."""
    loss: np.ndarray
    """Their losses, summed."""


def ranking(risk: np.ndarray, loss: np.ndarray) -> Ranking:
    """Rank flat items by their risk."""
    levels, index = np.unique(risk, return_inverse=True)
    return Ranking(np.bincount(index, minlength=levels.size), np.bincount(index, weights=loss, minlength=levels.size))


def aurc(ranked: Ranking) -> float:
    """Mean over coverages 1/N, 2/N, ..., 1 of the selective risk (Geifman et al. 2019; METHODS 8); NaN without items.

    Within a group of n items of mean loss m, after M items of loss L, the expected risk at M + j is
    (L + j m) / (M + j), which sums to n m + (L - m M) (H(M + n) - H(M)), H the harmonic numbers.
    """
    taken = ranked.count > 0
    count, loss = (values[taken].astype(np.float64) for values in ranked)
    if not count.size:
        return float("nan")
    reached, lost = np.cumsum(count), np.cumsum(loss)
    before, own = reached - count, loss / count
    harmonic = 1 / reached  # of a group of one
    many = count > 1
    harmonic[many] = digamma(reached[many] + 1) - digamma(before[many] + 1)
    return float((loss + (lost - loss - own * before) * harmonic).sum() / reached[-1])


def e_aurc(ranked: Ranking, best: Ranking) -> float:
    """AURC above that of the `best` possible order of the same items, the one by loss."""
    return aurc(ranked) - aurc(best)


def augrc(ranked: Ranking) -> float:
    """Area under the generalised risk over coverage 0 to 1, trapezoids (Traub et al. 2024); NaN without items.

    With losses 0 and 1 it is (1 - AUROC) r (1 - r) + r^2 / 2, r the share of losses.
    """
    count, loss = (values.astype(np.float64) for values in ranked)
    total = count.sum()
    return float((count * (np.cumsum(loss) - loss / 2)).sum() / total**2) if total else float("nan")
