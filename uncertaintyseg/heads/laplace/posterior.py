"""The fitted posterior as part of a network: buffers in its weights file, noise on its logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.laplace.curvature import contrasts
from uncertaintyseg.logits.weight_noise import JointWeightNoise, SeparableWeightNoise, WeightNoise

START = 1e-3
"""Standard deviation of every weight before the fit: nearly the plain network."""


class WeightPosterior(nn.Module):
    """Zero-mean Gaussian over the weights of the output layer, in one of the structures of `curvature.py`.

    Its buffers are what `Curvature.solve` returns, in float32: `factor` (full), `variance` (diagonal), or `variance`,
    `rotation` and `directions` (Kronecker).

    Raises:
        BundleError: when values that are not finite, or negative variances, are loaded.
    """

    def __init__(self, structure: str, features: int, classes: int) -> None:
        super().__init__()
        self.structure = structure
        count, inputs = classes - 1, features + 1
        if structure == "full":
            self.register_buffer("factor", START * torch.eye(count * inputs).unflatten(0, (count, inputs)))
            self.register_buffer("contrasts", contrasts(classes).float(), persistent=False)
        elif structure == "diagonal":
            self.register_buffer("variance", torch.full((classes, inputs), START**2))
        else:
            self.register_buffer("variance", torch.full((count, inputs), START**2))
            self.register_buffer("rotation", torch.eye(inputs))
            self.register_buffer("directions", contrasts(classes).float())
        self.register_load_state_dict_post_hook(lambda module, _: module.check())

    def set(self, solved: dict[str, Tensor]) -> None:
        """Take a solution of `Curvature.solve`."""
        for name, value in solved.items():
            getattr(self, name).copy_(value)
        self.check()

    def check(self) -> None:
        """Refuse a covariance that is none."""
        for name, value in self.named_buffers():
            if not torch.isfinite(value).all() or (name == "variance" and (value < 0).any()):
                raise BundleError(
                    f"the posterior's '{name}' holds NaN, infinite or negative values: fit the model again, or restore "
                    "its weights."
                )

    def noise(self, features: Tensor) -> WeightNoise:
        """Noise on the logits of features `[B, F, *spatial]`."""
        if self.structure == "full":
            return JointWeightNoise(features, self.factor, self.contrasts, triangular=True)
        if self.structure == "diagonal":
            return SeparableWeightNoise(features, self.variance)
        return SeparableWeightNoise(features, self.variance, self.rotation, self.directions)
