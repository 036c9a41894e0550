"""What a head is fitted to: objectives on a distribution over logits (METHODS 1.5, 1.6, 2.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from monai.losses import DiceLoss
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.logits import GaussianLogits

Estimator = Literal["closed_form", "mc"]


def expected_cross_entropy(distribution: GaussianLogits, target: Tensor) -> Tensor:
    """Mean over voxels of E[CE], the CE term of MoB eq. 12 in expectation; pushes variances down (METHODS 1.6)."""
    return distribution.expected_cross_entropy(target).mean()


def marginal_nll(distribution: GaussianLogits, target: Tensor) -> Tensor:
    """Mean over voxels of -ln E[softmax]_t, the marginal likelihood; learns ambiguity (METHODS 1.6)."""
    return distribution.negative_log_likelihood(target).mean()


def ssn_joint(
    distribution: GaussianLogits, target: Tensor, samples: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """-ln of the mean joint likelihood of antithetic samples, divided by the number of voxels (METHODS 2.2).

    The division only makes learning rates comparable with voxel-mean losses. An odd number of samples is rounded up.
    """
    total = math.prod(target.shape[1:])
    draws = distribution.sample((samples + 1) // 2, generator)
    pairs = ((draw, 2 * distribution.mean - draw) for draw in draws)
    likelihoods = torch.stack([-_cross_entropy(eta, target).flatten(1).sum(1) for pair in pairs for eta in pair])
    return -(likelihoods.logsumexp(0) - math.log(len(likelihoods))).mean() / total


def ssn_joint_marginal(
    distribution: GaussianLogits, target: Tensor, samples: int = 20, generator: torch.Generator | None = None
) -> Tensor:
    """`ssn_joint` + `marginal_nll`.

    The joint likelihood of a few samples is nearly that of the best one, so it does not mind a factor that now and then
    flips a whole structure; the marginal likelihood does.
    """
    return ssn_joint(distribution, target, samples, generator) + marginal_nll(distribution, target)


def sampled_cross_entropy(
    distribution: GaussianLogits, target: Tensor, samples: int = 5, generator: torch.Generator | None = None
) -> Tensor:
    """The CE term of MoB eq. 12 by k samples, as the paper trains; kept for fidelity."""
    losses = [_cross_entropy(logits, target).mean() for logits in distribution.sample(samples, generator)]
    return torch.stack(losses).mean()


def sampled_marginal_nll(
    distribution: GaussianLogits, target: Tensor, samples: int = 5, generator: torch.Generator | None = None
) -> Tensor:
    """`marginal_nll` by samples: -ln of the mean over samples of p_t."""
    draws = torch.stack([-_cross_entropy(logits, target) for logits in distribution.sample(samples, generator)])
    return -(draws.logsumexp(0) - math.log(samples)).mean()


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits, target, reduction="none")


OBJECTIVES: dict[tuple[str, Estimator], Callable[..., Tensor]] = {
    ("expected_ce", "closed_form"): expected_cross_entropy,
    ("expected_ce", "mc"): sampled_cross_entropy,
    ("marginal_nll", "closed_form"): marginal_nll,
    ("marginal_nll", "mc"): sampled_marginal_nll,
    ("ssn_joint", "mc"): ssn_joint,
    ("ssn_joint_marginal", "mc"): ssn_joint_marginal,
}


class HeadLoss:
    """Objective + soft Dice + the head's penalties, as one number and its parts.

    Soft Dice is taken of E[p] with up to two classes, which differs from E[Dice] by O(1 / voxels) (METHODS 1.5), and of
    the mean's softmax with more: there Dice shapes the mean alone, the objective the covariance.

    Args:
        objective: "expected_ce", "marginal_nll", "ssn_joint" or "ssn_joint_marginal".
        estimator: "closed_form" where one exists, "mc" for samples; None picks the first that there is.
        dice_weight: weight of the soft Dice term.
        samples: draws of an "mc" estimator; None keeps the objective's own number.
        generator: of those draws.

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
    ) -> None:
        names = [estimator] if estimator else ["closed_form", "mc"]
        found = [(objective, name) for name in names if (objective, name) in OBJECTIVES]
        if not found:
            known = ", ".join(f"{o} ({e})" for o, e in OBJECTIVES)
            raise InputError(f"there is no objective '{objective}' with estimator '{estimator}'; there are {known}.")
        self.objective, self.estimator = found[0]
        self._options = {}
        if self.estimator == "mc":
            self._options = {"generator": generator} | ({"samples": samples} if samples else {})
        self.dice_weight = dice_weight
        self._dice = DiceLoss(include_background=False, to_onehot_y=True, batch=True)

    def __call__(self, output: HeadOutput, target: Tensor) -> Tensor:
        """Loss of a head's output against class indices `[B, 1, *spatial]`."""
        with torch.autocast(target.device.type, enabled=False):  # half precision is too coarse for the tails of p
            return torch.stack(list(self.parts(output, target).values())).sum()

    def parts(self, output: HeadOutput, target: Tensor) -> dict[str, Tensor]:
        """The weighted terms by name."""
        function = OBJECTIVES[self.objective, self.estimator]
        terms = {self.objective: function(output.distribution, target[:, 0], **self._options)}
        if self.dice_weight:
            terms["dice"] = self.dice_weight * self._dice(self._probability(output.distribution), target)
        return terms | dict(output.penalties)

    @staticmethod
    def _probability(distribution: GaussianLogits) -> Tensor:
        if distribution.mean.shape[1] <= 2:
            return distribution.moments().probability
        return distribution.mean.softmax(1)
