"""Temperature scaling: one number, fitted after training, that makes the plain network's confidence honest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads.base import FeatureStream, Head, HeadOutput
from uncertaintyseg.logits import GaussianLogits

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures that are looked at."""
_STEPS = 41


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

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        return HeadOutput(GaussianLogits(self.mean(features) / self.temperature))

    @torch.no_grad()
    def fit(self, training: FeatureStream, validation: FeatureStream) -> dict[str, float]:
        """Choose T by the NLL of all validation voxels: a coarse grid, then a fine one (two readings of the stream).

        Returns:
            `temperature`, `validation_nll` and `plain_validation_nll` (nats a voxel, with T and without).

        Raises:
            InputError: for an empty stream, or features that are not finite.
        """
        coarse = np.geomspace(LOWEST, HIGHEST, _STEPS)
        best = int(np.argmin(self._nll(validation, coarse)))
        fine = np.geomspace(coarse[max(best - 1, 0)], coarse[min(best + 1, _STEPS - 1)], _STEPS)
        *nll, plain = self._nll(validation, np.append(fine, 1.0))
        best = int(np.argmin(nll))
        self.temperature.fill_(fine[best])
        return {"temperature": float(fine[best]), "validation_nll": nll[best], "plain_validation_nll": plain}

    def _nll(self, stream: FeatureStream, temperatures: np.ndarray) -> list[float]:
        """Mean over voxels of -ln softmax(logits / T)_t, for each T."""
        total, voxels = np.zeros(len(temperatures)), 0
        for features, target in stream:
            logits = self.mean(features)
            total += [
                float(torch.nn.functional.cross_entropy(logits / t, target, reduction="sum"))
                for t in temperatures.tolist()
            ]
            voxels += target.numel()
        if not voxels:
            raise InputError("the validation set is empty: the temperature is fitted to its voxels, so give it cases.")
        if not np.isfinite(total).all():
            raise InputError("the features of the validation set hold NaN or infinity, so no temperature fits them.")
        return (total / voxels).tolist()
