"""Temperature scaling: one number, fitted after training, that makes the plain network's confidence honest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.interpolate import BPoly, PPoly
from torch import Tensor

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads.base import FeatureStream, Head, HeadOutput
from uncertaintyseg.logits import GaussianLogits

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures that are looked at."""
_POINTS = 17
"""Where the NLL is summed, T = 1 among them: neighbours differ by a factor of 1.45."""
_BLOCK = 2**14
"""Voxels at once: few enough for a cache."""


class Temperature(Head):
    """Logits / T, all mass on one vector (Guo et al. 2017). Changes no label; the baseline of calibration.

    Args:
        features: channels F entering the head.
        classes: C, background included.
    """

    name = "temperature"
    paper = "Guo et al. 2017, On Calibration of Modern Neural Networks"
    summary = "the plain network with its logits divided by one fitted number: honest confidence, same labels"
    stochastic = False
    fitted = True

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.register_buffer("temperature", torch.ones(()))
        self.register_load_state_dict_post_hook(lambda module, _: module.check())

    def check(self) -> None:
        """Refuse a temperature that is none."""
        if not (torch.isfinite(self.temperature) and self.temperature > 0):
            raise BundleError(
                f"'temperature' is {float(self.temperature)}, not a positive number: fit the model again."
            )

    @property
    def voxelwise(self) -> bool:
        return True

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        return HeadOutput(GaussianLogits(self.mean(features) / self.temperature))

    @torch.no_grad()
    def fit(
        self, training: FeatureStream, validation: FeatureStream, below: FeatureStream | None = None
    ) -> dict[str, float]:
        """Choose T by the NLL of all validation voxels, in one reading of them.

        The NLL is convex in 1 / T. Its value, slope and curvature are summed at fixed points; its minimum is that
        of the curve of the fifth degree through them.

        Returns:
            `temperature`, `validation_nll` and `plain_validation_nll` (nats a voxel, with T and without).

        Raises:
            InputError: for an empty stream, or features that are not finite.
        """
        inverse = np.geomspace(1 / HIGHEST, 1 / LOWEST, _POINTS)
        sums = self._sums(validation, inverse)
        curve = PPoly.from_bernstein_basis(BPoly.from_derivatives(inverse, sums))
        found = curve.derivative().roots(extrapolate=False)
        best = min([*found[np.isfinite(found)], inverse[0], inverse[-1]], key=curve)
        self.temperature.fill_(1 / best)
        nll = {"validation_nll": float(curve(best)), "plain_validation_nll": float(curve(1.0))}
        return {"temperature": float(1 / best)} | nll

    def _sums(self, stream: FeatureStream, inverse: np.ndarray) -> np.ndarray:
        """Means over voxels of -ln softmax(b eta)_t and its first two derivatives in b, for each b: `[points, 3]`."""
        total, voxels = np.zeros((len(inverse), 3)), 0
        for features, target in stream:
            logits = self.mean(features)[0].flatten(1)
            logits -= logits.amax(0)  # of one shift: their exponentials neither overflow nor all vanish
            for part, own in zip(logits.split(_BLOCK, 1), target.flatten().split(_BLOCK), strict=True):
                right = part.gather(0, own[None])[0]
                for k, b in enumerate(inverse.tolist()):
                    p = (b * part).exp_()
                    norm = p.sum(0)
                    weighted = p.mul_(part)
                    mean = weighted.sum(0) / norm
                    spread = weighted.mul_(part).sum(0) / norm - mean.square()
                    of_nll = norm.log() - b * right, mean - right, spread
                    total[k] += [float(value.sum(dtype=torch.float64)) for value in of_nll]
            voxels += target.numel()
        if not voxels:
            raise InputError("the validation set is empty: the temperature is fitted to its voxels, so give it cases.")
        if not np.isfinite(total).all():
            raise InputError("the features of the validation set hold NaN or infinity, so no temperature fits them.")
        return total / voxels
