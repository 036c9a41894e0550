"""Last-layer Laplace: the output layer's weights get a Gaussian posterior, after training and without gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads.base import FeatureStream, Head, HeadOutput
from uncertaintyseg.heads.laplace.choice import PRECISIONS, TEMPERINGS, HeldOut, cheapest
from uncertaintyseg.heads.laplace.curvature import Curvature, make_curvature
from uncertaintyseg.heads.laplace.deeper import DeeperPosterior
from uncertaintyseg.heads.laplace.posterior import WeightPosterior
from uncertaintyseg.heads.laplace.split import split_info, split_maps
from uncertaintyseg.logits import Covariance, GaussianLogits, LowRank, Sum
from uncertaintyseg.wire import MapInfo

_BLOCK_BYTES = 2**28
"""Of the curvatures of the voxels that are summed at once, float32 pairs of classes."""
_MOST_FULL = 16
"""Classes up to which the posterior is full unless told otherwise: it has ((C - 1) (F + 1))^2 entries."""


def block_of(classes: int) -> int:
    """Voxels whose curvature is summed at once: of `[C, C]` twice in float32 each."""
    return max(1, _BLOCK_BYTES // (8 * classes**2))


def deeper_note(depth: int) -> str:
    """What a model whose posterior goes deeper than the output layer says of itself; nothing else does."""
    return f"; over the last {depth} convolutions, below the output layer by a heuristic" if depth > 1 else ""


class LaplaceHead(Head):
    """Base head + posterior over its 1x1x1 mean layer, eta | x ~ N(mu, Sigma_base + phi~^T S phi~) exactly.

    Last-layer Laplace (Daxberger et al. 2021) for dense prediction; on a head with noise of its own, LSN (Zepf et al.
    2024; METHODS 4). The posterior covers only the mean layer; the layers of the base's noise stay as they are. Its
    covariance is exact for the given S, its probabilities in closed form with two classes.

    Args:
        features: channels F entering the head.
        classes: C, background included.
        base: name of the head whose mean layer gets the posterior; one without taps.
        base_options: its own options.
        structure: of the posterior covariance, "full", "kronecker" or "diagonal"; None: full up to 16 classes, which
            grows with their square, and Kronecker above.
        choose: what sets the width that the two next options leave open: the NLL of validation voxels (both), or the
            evidence of the training set (the prior precision; a tempering can not be chosen by it, because the less of
            the data counts, the larger it is).
        prior_precision: tau; None to have it chosen.
        tempering: s_H, how much of a voxel counts as an independent observation; None to have it chosen, or 1 if by
            evidence.
        split: whether a base with noise of its own also gets maps that tell its noise from the weights' (`split.py`).
        depth: how many of the network's last convolutions the posterior is over, the output layer the first. From 2 on
            it is a heuristic (`deeper.py`): single weights of the others, by themselves, with the output layer's
            tempering and a prior precision of their own that validation voxels choose with it; they move the mean of
            the logits, not the base's noise.
        draws: R, draws of the deeper weights that stand for their posterior.

    Raises:
        BundleError: for an unknown structure or way to choose, a base that has no mean layer of its own to cover, or a
            depth that goes with none.
    """

    name = "laplace"
    paper = "Daxberger et al. 2021, Laplace Redux; Zepf et al. 2024, Laplacian Segmentation Networks"
    summary = "a Gaussian posterior over the output layer's weights: what the training set leaves open"
    source = "epistemic"
    fitted = True

    def __init__(
        self,
        features: int,
        classes: int,
        base: str = "deterministic",
        base_options: Mapping[str, Any] | None = None,
        structure: Literal["full", "kronecker", "diagonal"] | None = None,
        choose: Literal["validation_nll", "marginal_likelihood"] = "validation_nll",
        prior_precision: float | None = None,
        tempering: float | None = None,
        split: bool = True,
        depth: int = 1,
        draws: int = 20,
    ) -> None:
        from uncertaintyseg.heads import HEADS, make_head  # noqa: PLC0415 - the registry holds this head too

        super().__init__(features, classes)
        del self.mean  # the base has it
        self.base = make_head(base, features=features, classes=classes, **(base_options or {}))
        if HEADS[base].fitted or self.base.taps:
            raise BundleError(
                f"'base': the head '{base}' is fitted itself or reads taps; a posterior needs another one."
            )
        if not self.base.direct:
            raise BundleError(
                f"'base': the head '{base}' with these options has no Gaussian logits that a posterior could widen; "
                "leave out its 'blocks'."
            )
        if choose not in ("validation_nll", "marginal_likelihood"):
            raise BundleError(f"'choose' is '{choose}'; it must be validation_nll or marginal_likelihood.")
        if prior_precision is not None and prior_precision < 0:
            raise BundleError(f"'prior_precision' is {prior_precision:g}; it must not be negative.")
        if tempering is not None and not 0 < tempering <= 1:
            raise BundleError(f"'tempering' is {tempering:g}; it must lie between 0 and 1.")
        if depth < 1 or draws < 1:
            raise BundleError(f"'depth' is {depth} and 'draws' {draws}: both start from 1.")
        if depth > 1 and choose != "validation_nll":
            raise BundleError(f"'depth' is {depth}: the width of deeper layers is chosen by validation_nll alone.")
        structure = structure or ("full" if classes <= _MOST_FULL else "kronecker")
        self.structure, self.choose = structure, choose
        self.prior_precision, self.tempering = prior_precision, tempering
        make_curvature(structure, features, classes)
        self.posterior = WeightPosterior(structure, features, classes)
        self._depth, self.draws, self.deeper = depth, draws, None
        self.split = split and self.base.stochastic
        if self.base.stochastic:
            self.source = "total"
        self.summary += deeper_note(depth)

    @property
    def mean(self) -> nn.Conv3d:
        """The base's output layer, which the posterior is over."""
        return self.base.mean

    @property
    def taken_over(self) -> Head | None:
        return self.base if self.base.stochastic else None

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def tail(self) -> nn.Sequential | None:
        return self.deeper and self.deeper.tail

    @property
    def channels_beside(self) -> int:
        return self.draws * self.classes if self.deeper is not None and self.deeper.wide else 0

    def stand_on(self, tail: nn.Sequential) -> None:
        self.deeper = DeeperPosterior(tail, self.draws)

    def beside(self, entered: Tensor) -> Tensor:
        moved = self.deeper.moved(entered)
        return torch.einsum("cf,brf...->bcr...", self.mean.weight.flatten(1), moved).flatten(1, 2)

    def apart(self, features: Tensor) -> tuple[Tensor, LowRank | None]:
        """The last features `[B, F, *spatial]`, and the noise of deeper layers, if there is any."""
        own, beside = features[:, : self.features], features[:, self.features :]
        return own, LowRank(beside.unflatten(1, (self.classes, -1))) if beside.shape[1] else None

    def noise(self, features: Tensor, deeper: LowRank | None) -> Covariance:
        """Of the weights, on the logits of what `apart` gives."""
        own = self.posterior.noise(features)
        return own if deeper is None else Sum(own, deeper)

    @property
    def coherent(self) -> bool:
        return True

    @property
    def voxelwise(self) -> bool:
        return self.base.voxelwise

    def extra_maps(self) -> dict[str, MapInfo]:
        return self.base.extra_maps() | (split_info(self.classes) if self.split else {})

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        features, deeper = self.apart(features)
        output = self.base(features)
        base = output.distribution
        noise = self.noise(features, deeper)
        if base.covariance is None:
            return HeadOutput(GaussianLogits(base.mean, noise), output.maps, output.penalties)
        maps = dict(output.maps)
        if self.split and not self.training:
            maps |= split_maps(base.mean, base.covariance, noise)
        return HeadOutput(GaussianLogits(base.mean, Sum(base.covariance, noise)), maps, output.penalties)

    @torch.no_grad()
    def fit(
        self, training: FeatureStream, validation: FeatureStream, below: FeatureStream | None = None
    ) -> dict[str, float]:
        """Sum the curvature over the training voxels and choose the posterior's width.

        With deeper layers the output layer's is chosen first, as it is without them; then their prior precision, from
        large to small while the NLL of the validation voxels falls, each with the best one of the output layer.

        Returns:
            `prior_precision`, `tempering`, `validation_nll` and `plain_validation_nll` (nats a voxel, with the
            posterior and without, on a sample of the voxels), `log_marginal_likelihood` (nats, of the training set with
            its likelihood raised to the power s_H) and `training_voxels`; with deeper layers also
            `deeper_prior_precision` and `output_layer_nll`, the validation NLL without them.

        Raises:
            InputError: for an empty stream, features that are not finite, or a singular posterior.
        """
        self.eval()
        if self.deeper is not None:
            self.deeper.variance.zero_()
        curvature, log_likelihood = self._curvature(training)
        held = HeldOut(_Open(self), validation)

        def nll(tempering: float, precision: float, held: HeldOut = held) -> float:
            self.posterior.set(curvature.solve(tempering, precision))
            return held.nll(self.posterior.noise(held.features))

        def evidence(tempering: float, precision: float) -> float:
            penalty = precision * float(self._weights().double().square().sum()) + curvature.log_occam(
                tempering, precision
            )
            return tempering * log_likelihood - penalty / 2

        by_evidence = self.choose == "marginal_likelihood"
        open_tempering = (1.0,) if by_evidence else TEMPERINGS
        temperings = open_tempering if self.tempering is None else (self.tempering,)
        precisions = PRECISIONS if self.prior_precision is None else (self.prior_precision,)
        cost = (lambda s, tau: -evidence(s, tau)) if by_evidence else nll
        tempering, precision = cheapest(cost, temperings, precisions)
        report: dict[str, float] = {}
        beside = held
        if self.deeper is not None:
            report["output_layer_nll"] = nll(tempering, precision)
            diagonal = self.deeper.curvature(self.mean, below)

            def opened(candidate: float) -> HeldOut:
                self.deeper.set(diagonal, tempering, candidate)
                return HeldOut(_Open(self), validation)

            candidates = PRECISIONS if self.prior_precision is None else precisions
            found = _deepest(opened, nll, tempering, candidates, precisions)
            report["deeper_prior_precision"], precision = found
            beside = opened(found[0])
        return {
            "prior_precision": precision,
            "tempering": tempering,
            "validation_nll": nll(tempering, precision, beside),  # also sets the posterior
            "plain_validation_nll": held.nll(),
            "log_marginal_likelihood": evidence(tempering, precision),
            "training_voxels": float(curvature.voxels),
            **report,
        }

    def _curvature(self, training: FeatureStream) -> tuple[Curvature, float]:
        """H of a training set, and its log-likelihood under the mean layer."""
        curvature = make_curvature(self.structure, self.features, self.classes)
        total, size = 0.0, block_of(self.classes)
        for features, target in training:
            voxels, classes = features.flatten(2)[0], target.flatten()
            if (classes < 0).any():  # not labelled
                voxels, classes = voxels[:, classes >= 0], classes[classes >= 0]
            blocks = zip(voxels.split(size, 1), classes.split(size), strict=True)
            for phi, own in blocks:
                log_p = self.mean(phi[None, ..., None, None])[0, ..., 0, 0].log_softmax(0)
                total += float(log_p.gather(0, own[None]).double().sum())
                curvature.add(phi, log_p.exp())
        if not curvature.voxels:
            raise InputError("the training set is empty: the posterior is fitted to its voxels, so give it cases.")
        return curvature, total

    def _weights(self) -> Tensor:
        """The mean layer's weights, bias included, `[C (F + 1)]`."""
        return torch.cat([self.mean.weight.flatten(), self.mean.bias])


def _deepest(
    opened: Callable[[float], HeldOut],
    nll: Callable[[float, float, HeldOut], float],
    tempering: float,
    candidates: Sequence[float],
    precisions: Sequence[float],
) -> tuple[float, float]:
    """Prior precisions of the deeper layers and of the output layer: the former from large to small while it helps."""
    best, found = math.inf, (max(candidates), max(precisions))
    for candidate in sorted(candidates, reverse=True):
        held = opened(candidate)
        _, own = cheapest(lambda s, tau, held=held: nll(s, tau, held), (tempering,), precisions)
        if (value := nll(tempering, own, held)) >= best:
            break
        best, found = value, (candidate, own)
    return found


class _Open(nn.Module):
    """A head's logits without the noise of its output layer: what a posterior of that layer is chosen beside."""

    def __init__(self, head: LaplaceHead) -> None:
        super().__init__()
        self.head, self.features, self.classes = head, head.features, head.classes

    def forward(self, features: Tensor) -> HeadOutput:
        own, deeper = self.head.apart(features)
        base = self.head.base(own).distribution
        if deeper is None:
            return HeadOutput(base)
        return HeadOutput(
            GaussianLogits(base.mean, deeper if base.covariance is None else Sum(base.covariance, deeper))
        )
