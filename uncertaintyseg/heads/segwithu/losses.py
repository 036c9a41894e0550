"""The seven terms that SegWithU is trained with (METHODS 7.3). Every labelled voxel counts, background included."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

PAIRS = 65536
TAIL_TEMPERATURE = 0.25
WEIGHTS = {
    "nll": 0.5,
    "error": 0.25,
    "pairs": 0.25,
    "tail": 0.25,
    "trust": 0.05,
    "anchor": 0.05,
    "residual": 0.05,
}
"""Of each term, as published."""


class Probed(NamedTuple):
    """What the terms are made of; maps are `[B, 1, *spatial]`.

    Attributes:
        logits: eta of the plain network, `[B, C, *spatial]`.
        tempered: the same after tempering.
        nudge: delta, what all probes together add to the logits, `[B, C, *spatial]`.
        energy: E, the mean over classes of delta^2.
        closeness: w = exp(-4 margin): 1 where two classes tie.
        anchor: what the ranking starts from.
        ranking: U_rnk.
    """

    logits: Tensor
    tempered: Tensor
    nudge: Tensor
    energy: Tensor
    closeness: Tensor
    anchor: Tensor
    ranking: Tensor


def terms(probed: Probed, target: Tensor, generator: torch.Generator | None = None) -> dict[str, Tensor]:
    """All terms, by name and unweighted, against class indices `[B, 1, *spatial]`.

    Voxels of a negative index are not labelled: all terms are as if the batch were without them.
    """
    known = target[:, 0] >= 0
    if not known.all():
        probed, target = Probed(*(_at(values, known) for values in probed)), _at(target, known)
    wrong = (probed.logits.argmax(1, keepdim=True) != target).float()
    risk = standardised(probed.ranking)
    return {
        "nll": tempered_nll(probed.tempered, target),
        "error": functional.binary_cross_entropy_with_logits(risk, wrong),
        "pairs": pair_ranking(risk, wrong, generator),
        "tail": confident_errors(probed.ranking, wrong),
        "trust": trust(probed.logits, probed.nudge),
        "anchor": functional.smooth_l1_loss(risk, standardised(probed.anchor.detach())),
        "residual": ((1 - probed.closeness.detach()) * probed.energy).mean(),
    }


def _at(values: Tensor, known: Tensor) -> Tensor:
    """`[B, C, *spatial]` at the voxels of `[B, *spatial]`: `[1, C, n]`."""
    return values.movedim(1, 0)[:, known][None]


def standardised(values: Tensor) -> Tensor:
    """(u - mean) / (std + 1e-6) over the whole batch."""
    return (values - values.mean()) / (values.std(correction=0) + 1e-6)


def tempered_nll(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over voxels of -ln softmax(logits)_t, probabilities not below 1e-12."""
    return -logits.log_softmax(1).gather(1, target).clamp_min(math.log(1e-12)).mean()


def pair_ranking(risk: Tensor, wrong: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mean softplus(risk of a correct voxel - risk of a wrong one) over random pairs; 0 where there are none."""
    wrong = wrong.bool()
    high, low = risk[wrong], risk[~wrong]
    count = min(PAIRS, len(high) * len(low))
    if not count:
        return risk.new_zeros(())
    first, second = (
        side[torch.randint(len(side), (count,), generator=generator, device=side.device)] for side in (high, low)
    )
    return functional.softplus(second - first).mean()


def confident_errors(ranking: Tensor, wrong: Tensor) -> Tensor:
    """A soft error rate among the least uncertain voxels of the batch: sum_n softmax_n(-u / 0.25) err_n."""
    return ((-ranking / TAIL_TEMPERATURE).flatten().softmax(0) * wrong.flatten()).sum()


def trust(logits: Tensor, nudge: Tensor) -> Tensor:
    """Keeps the probes small: mean delta^2 + 0.25 mean (softmax(eta + delta) - softmax(eta))^2."""
    moved = (logits + nudge).softmax(1) - logits.softmax(1)
    return nudge.square().mean() + 0.25 * moved.square().mean()
