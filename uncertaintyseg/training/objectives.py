"""What a head is fitted to: objectives on a distribution over logits (METHODS 1.5, 1.6, 2.2, 6).

Targets are class indices, or `IGNORED` where nobody said what a voxel is: such voxels count nowhere, as if the window
were without them. A window, or a batch, of nothing else has the loss 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.training.region_losses import DiceKind, make_dice, relative_volume_error, weighted_dice

Estimator = Literal["closed_form", "mc"]
SAMPLES = 5
"""k of MoB eq. 12 (METHODS 3.1)."""
_OF_SAMPLES = ("expected_ce", "marginal_nll")
"""Objectives whose samples may serve the Dice as well."""
HYBRID = {"cross_entropy": 0.4, "focal": 0.2, "dice": 0.4}
"""Shares of the terms of the hybrid loss (METHODS 6, A50)."""


def expected_cross_entropy(distribution: GaussianLogits, target: Tensor) -> Tensor:
    """Mean over voxels of E[CE], the CE term of MoB eq. 12 in expectation; pushes variances down (METHODS 1.6)."""
    return _mean(distribution.expected_cross_entropy(_filled(target)), target)


def marginal_nll(distribution: GaussianLogits, target: Tensor) -> Tensor:
    """Mean over voxels of -ln E[softmax]_t, the marginal likelihood; learns ambiguity (METHODS 1.6)."""
    return _mean(distribution.negative_log_likelihood(_filled(target)), target)


def ssn_joint(
    distribution: GaussianLogits, target: Tensor, samples: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """-ln of the mean joint likelihood of antithetic samples, divided by the number of voxels (METHODS 2.2).

    The division only makes learning rates comparable with voxel-mean losses. An odd number of samples is rounded up.
    """
    draws = distribution.sample((samples + 1) // 2, generator)
    pairs = ((draw, 2 * distribution.mean - draw) for draw in draws)
    likelihoods = torch.stack([-_cross_entropy(eta, target).flatten(1).sum(1) for pair in pairs for eta in pair])
    found = -(likelihoods.logsumexp(0) - math.log(len(likelihoods)))
    known = known_voxels(target)
    if known is None:
        return found.mean() / math.prod(target.shape[1:])
    return found.sum() / known.sum().clamp_min(1)


def ssn_joint_marginal(
    distribution: GaussianLogits, target: Tensor, samples: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """`ssn_joint` + `marginal_nll`.

    The joint likelihood of a few samples is nearly that of the best one, so it does not mind a factor that now and then
    flips a whole structure; the marginal likelihood does.
    """
    return ssn_joint(distribution, target, samples, generator) + marginal_nll(distribution, target)


def sampled_cross_entropy(
    distribution: GaussianLogits, target: Tensor, samples: int = SAMPLES, generator: torch.Generator | None = None
) -> Tensor:
    """The CE term of MoB eq. 12 by k samples, as the paper trains; kept for fidelity."""
    losses = [_mean(_cross_entropy(logits, target), target) for logits in distribution.sample(samples, generator)]
    return torch.stack(losses).mean()


def sampled_marginal_nll(
    distribution: GaussianLogits, target: Tensor, samples: int = SAMPLES, generator: torch.Generator | None = None
) -> Tensor:
    """`marginal_nll` by samples: -ln of the mean over samples of p_t."""
    draws = torch.stack([-_cross_entropy(logits, target) for logits in distribution.sample(samples, generator)])
    return _mean(-(draws.logsumexp(0) - math.log(samples)), target)


def cross_entropy_and_focal(
    distribution: GaussianLogits,
    target: Tensor,
    gamma: float = 2.0,
    weights: Sequence[float] | None = None,
    alpha: Sequence[float] | None = None,
) -> Tensor:
    """0.4 cross-entropy + 0.2 focal loss of E[p]: the hybrid loss without its Dice (METHODS 6).

    Args:
        distribution: over logits.
        target: class indices, or `IGNORED`.
        gamma: of the focal loss, a mean over voxels of alpha_t (1 - p_t)^gamma (-ln p_t) for the true class t (Lin et
            al. 2017).
        weights: of the cross-entropy, one a class: sum w_t (-ln p_t) / sum w_t over voxels. None: all alike.
        alpha: of the focal loss, one a class; None: 1. The thesis gives neither these nor gamma (METHODS A53).
    """
    labels = _filled(target)
    nll = distribution.negative_log_likelihood(labels)
    wrong = -torch.expm1(-nll.clamp_min(0))  # 1 - p of the true class; fixed nodes may round p to just above 1
    focal = wrong**gamma * nll
    if alpha is not None:
        focal = nll.new_tensor(alpha)[labels] * focal
    if weights is None:
        plain = _mean(nll, target)
    else:
        each = nll.new_tensor(weights)[labels]
        plain = _mean(each * nll, target) / _mean(each, target).clamp_min(1e-12)
    return HYBRID["cross_entropy"] * plain + HYBRID["focal"] * _mean(focal, target)


def known_voxels(target: Tensor) -> Tensor | None:
    """Where a target says what a voxel is, bool of its shape; None where it does everywhere."""
    known = target != IGNORED
    return None if known.all() else known


def at_known(values: Tensor, known: Tensor) -> Tensor:
    """The values `[B, C, *spatial]` of the voxels that are known `[B, *spatial]`, in a row: `[1, C, n]`."""
    return values.movedim(1, 0)[:, known][None]


def _filled(target: Tensor) -> Tensor:
    """A target that can be looked up everywhere: what is not known is taken for background, and left out later."""
    return target.clamp_min(0)


def _mean(values: Tensor, target: Tensor) -> Tensor:
    """Mean over the voxels that a target `[B, *spatial]` knows; 0 where it knows none."""
    known = known_voxels(target)
    if known is None:
        return values.mean()
    found = values[known]
    return found.sum() / max(found.numel(), 1)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Of each voxel; 0 where the target is not known."""
    return torch.nn.functional.cross_entropy(logits, target, reduction="none", ignore_index=IGNORED)


OBJECTIVES: dict[tuple[str, Estimator], Callable[..., Tensor]] = {
    ("expected_ce", "closed_form"): expected_cross_entropy,
    ("expected_ce", "mc"): sampled_cross_entropy,
    ("marginal_nll", "closed_form"): marginal_nll,
    ("marginal_nll", "mc"): sampled_marginal_nll,
    ("hybrid", "closed_form"): cross_entropy_and_focal,
    ("ssn_joint", "mc"): ssn_joint,
    ("ssn_joint_marginal", "mc"): ssn_joint_marginal,
}


class HeadLoss:
    """Objective + Dice + the head's penalties, as one number and its parts.

    Dice is taken of E[p] with up to two classes, which differs from E[Dice] by O(1 / voxels) (METHODS 1.5), and of
    the mean's softmax with more: there Dice shapes the mean alone, the objective the covariance.

    The objective "hybrid" brings a Dice of its own: 0.4 of 1 - sum_c w_c (2 sum p y + e) / (sum p^2 + sum y^2 + e) /
    sum_c w_c over all classes, the background included, with e = 1e-6 (METHODS 6).

    Args:
        objective: "expected_ce", "marginal_nll", "hybrid", "ssn_joint" or "ssn_joint_marginal".
        estimator: "closed_form" where one exists, "mc" for samples; None picks the first that there is.
        dice_weight: weight of the Dice term.
        samples: draws of an "mc" estimator; None keeps the objective's own number.
        generator: of those draws.
        class_weights: w_c of the Dice of "hybrid", one a class; all equal by default.
        dice: kind of Dice (`region_losses.make_dice`); None: soft Dice, or what "hybrid" brings.
        volume_weight: of the error of the structures' expected volumes (`region_losses.relative_volume_error`).
        hybrid: what else there is to say of "hybrid": `gamma`, `weights` and `alpha` of `cross_entropy_and_focal`.

    Raises:
        InputError: for a combination that does not exist.
    """

    def __init__(
        self,
        objective: str,
        estimator: Estimator | None = None,
        dice_weight: float = 1.0,
        samples: int | None = None,
        generator: torch.Generator | None = None,
        class_weights: Sequence[float] | None = None,
        dice: DiceKind | None = None,
        volume_weight: float = 0.0,
        hybrid: Mapping[str, Any] | None = None,
    ) -> None:
        names = [estimator] if estimator else ["closed_form", "mc"]
        found = [(objective, name) for name in names if (objective, name) in OBJECTIVES]
        if not found:
            known = ", ".join(f"{o} ({e})" for o, e in OBJECTIVES)
            raise InputError(f"there is no objective '{objective}' with estimator '{estimator}'; there are {known}.")
        self.objective, self.estimator = found[0]
        self.generator, self._options = generator, {}
        if self.estimator == "mc":
            self._options = {"generator": generator} | ({"samples": samples} if samples else {})
        elif samples:
            raise InputError(
                f"'samples' are of the estimator 'mc', and '{objective}' is taken in closed form: add --estimator mc."
            )
        if (hybrid or class_weights) and objective != "hybrid":
            raise InputError(
                f"class weights and focal loss are of the objective 'hybrid', not of '{objective}': add --objective "
                "hybrid, or leave them out."
            )
        if class_weights and dice:
            raise InputError(
                f"class weights are of the Dice that 'hybrid' brings, not of '{dice}': leave out one of them."
            )
        self._options |= hybrid or {}
        self.dice_weight, self.volume_weight = 0.0 if dice == "none" else dice_weight, volume_weight
        self._dice = make_dice(dice or "soft")
        if objective == "hybrid":
            self.dice_weight *= HYBRID["dice"]
            self._dice = self._dice if dice else weighted_dice(class_weights)

    def __call__(self, output: HeadOutput, target: Tensor) -> Tensor:
        """Loss of a head's output against class indices or `IGNORED`, `[B, 1, *spatial]`."""
        with torch.autocast(target.device.type, enabled=False):  # half precision is too coarse for the tails of p
            return torch.stack(list(self.parts(output, target).values())).sum()

    def parts(self, output: HeadOutput, target: Tensor) -> dict[str, Tensor]:
        """The weighted terms by name, those of further paths with their names; the head's own, if it brings a loss."""
        found = self._terms(output, target)
        for path, distribution in output.paths.items():
            terms = self._terms(HeadOutput(distribution), target)
            found |= {f"{path} {name}": value for name, value in terms.items()}
        return found

    def _terms(self, output: HeadOutput, target: Tensor) -> dict[str, Tensor]:
        known = known_voxels(target[:, 0])
        if known is not None and not known.any():  # a zero that still belongs to the network
            return {self.objective: output.distribution.mean.movedim(1, 0)[:, known].sum()}
        if output.terms is not None:
            return dict(output.terms(target, self.generator))
        function = OBJECTIVES[self.objective, self.estimator]
        distribution, drawn = output.distribution, None
        if self.estimator == "mc" and self.objective in _OF_SAMPLES:
            drawn = Draws(distribution, self._options.get("samples", SAMPLES), self.generator)
            distribution = drawn
        terms = {self.objective: function(distribution, target[:, 0], **self._options)}
        if self.dice_weight or self.volume_weight:
            labels = target if known is None else at_known(target, known)
            found = self._probabilities(output.distribution, drawn)
            if known is not None:
                found = [at_known(probability, known) for probability in found]
            if self.dice_weight:
                terms["dice"] = self.dice_weight * _average([self._dice(each, labels) for each in found])
            if self.volume_weight:
                terms["volume"] = self.volume_weight * _average([relative_volume_error(p, labels) for p in found])
        if known is not None and output.penalties_at is not None:
            return terms | dict(output.penalties_at(known))
        return terms | dict(output.penalties)

    def _probabilities(self, distribution: GaussianLogits, drawn: Draws | None) -> list[Tensor]:
        """Probabilities `[B, C, *spatial]` whose mean Dice counts: one, or those of each draw."""
        if drawn is not None:
            found = [logits.softmax(1) for logits in drawn.logits]
            return found if self.objective == "expected_ce" else [torch.stack(found).mean(0)]
        if distribution.mean.shape[1] <= 2:
            return [distribution.moments().probability]
        return [distribution.mean.softmax(1)]


class Draws:
    """Samples of a distribution that are drawn once, for all terms of a loss."""

    def __init__(self, distribution: GaussianLogits, samples: int, generator: torch.Generator | None) -> None:
        self.mean, self.logits = distribution.mean, list(distribution.sample(samples, generator))

    def sample(self, count: int, generator: torch.Generator | None = None) -> list[Tensor]:  # noqa: ARG002
        """The first draws, differentiable."""
        return self.logits[:count]


def _average(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean()
