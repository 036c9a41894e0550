"""Last-layer Laplace: the output layer's weights get a Gaussian posterior, after training and without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads.base import FeatureStream, Head, HeadOutput
from uncertaintyseg.heads.laplace.choice import PRECISIONS, TEMPERINGS, HeldOut, cheapest
from uncertaintyseg.heads.laplace.curvature import Curvature, make_curvature
from uncertaintyseg.heads.laplace.posterior import WeightPosterior
from uncertaintyseg.heads.laplace.split import split_info, split_maps
from uncertaintyseg.logits import GaussianLogits, Sum
from uncertaintyseg.wire import MapInfo

_BLOCK_BYTES = 2**28
"""Of the curvatures of the voxels that are summed at once, float32 pairs of classes."""
_MOST_FULL = 16
"""Classes up to which the posterior is full unless told otherwise: it has ((C - 1) (F + 1))^2 entries."""


def block_of(classes: int) -> int:
    """Voxels whose curvature is summed at once: of `[C, C]` twice in float32 each."""
    return max(1, _BLOCK_BYTES // (8 * classes**2))


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

    Raises:
        BundleError: for an unknown structure or way to choose, or a base that has no mean layer of its own to cover.
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
        structure = structure or ("full" if classes <= _MOST_FULL else "kronecker")
        self.structure, self.choose = structure, choose
        self.prior_precision, self.tempering = prior_precision, tempering
        make_curvature(structure, features, classes)
        self.posterior = WeightPosterior(structure, features, classes)
        self.split = split and self.base.stochastic
        if self.base.stochastic:
            self.source = "total"

    @property
    def mean(self) -> nn.Conv3d:
        """The base's output layer, which the posterior is over."""
        return self.base.mean

    @property
    def coherent(self) -> bool:
        return True

    @property
    def voxelwise(self) -> bool:
        return self.base.voxelwise

    def extra_maps(self) -> dict[str, MapInfo]:
        return self.base.extra_maps() | (split_info(self.classes) if self.split else {})

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        output = self.base(features)
        base = output.distribution
        noise = self.posterior.noise(features)
        if base.covariance is None:
            return HeadOutput(GaussianLogits(base.mean, noise), output.maps, output.penalties)
        maps = dict(output.maps)
        if self.split and not self.training:
            maps |= split_maps(base.mean, base.covariance, noise)
        return HeadOutput(GaussianLogits(base.mean, Sum(base.covariance, noise)), maps, output.penalties)

    @torch.no_grad()
    def fit(self, training: FeatureStream, validation: FeatureStream) -> dict[str, float]:
        """Sum the curvature over the training voxels and choose the posterior's width.

        Returns:
            `prior_precision`, `tempering`, `validation_nll` and `plain_validation_nll` (nats a voxel, with the
            posterior and without, on a sample of the voxels), `log_marginal_likelihood` (nats, of the training set with
            its likelihood raised to the power s_H) and `training_voxels`.

        Raises:
            InputError: for an empty stream, features that are not finite, or a singular posterior.
        """
        self.eval()
        curvature, log_likelihood = self._curvature(training)
        held = HeldOut(self.base, validation)

        def nll(tempering: float, precision: float) -> float:
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
        return {
            "prior_precision": precision,
            "tempering": tempering,
            "validation_nll": nll(tempering, precision),  # also sets the posterior
            "plain_validation_nll": held.nll(),
            "log_marginal_likelihood": evidence(tempering, precision),
            "training_voxels": float(curvature.voxels),
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
