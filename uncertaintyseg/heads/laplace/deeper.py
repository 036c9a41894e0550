"""A posterior below the output layer: over the weights of a network's last convolutions, each by itself (a HEURISTIC).

The Gauss-Newton matrix of which `recursion.py` has the diagonal is that of the network to first order in its weights,
so that is the network the posterior belongs to (Immer et al. 2021, Improving predictions of Bayesian neural nets via
local linearization): eta = eta(theta) + J delta, delta ~ N(0, S). Its covariance J S J^T has no closed form over a
window; a fixed set of R draws of the weights stands for it, J S J^T ~ sum_r (J d_r)(J d_r)^T / R. The sum is unbiased,
its relative error is about sqrt(2 / R). The mean stays the plain network's, voxels share the noise, and windows do too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.base import FeatureStream
from uncertaintyseg.heads.laplace.recursion import diagonal_ggn


class DeeperPosterior(nn.Module):
    """Independent zero-mean Gaussians over the convolution weights of a backbone's tail; of no width before a fit.

    Args:
        tail: the backbone's last layers, as of `Backbone.tail`; the weights stay the backbone's.
        draws: R, fixed draws of the weights that stand for the posterior.

    Raises:
        BundleError: when variances that are not finite, or negative, are loaded.
    """

    def __init__(self, tail: nn.Sequential, draws: int) -> None:
        super().__init__()
        self._tail, self.draws = (tail,), draws  # no submodule: its weights are in the file already
        self.names = [
            f"{place}.{name}"
            for place, module in tail.named_modules()
            if isinstance(module, nn.Conv3d)
            for name, _ in module.named_parameters()
        ]
        self.register_buffer("variance", torch.zeros(sum(weight.numel() for weight in self.weights().values())))
        self.register_load_state_dict_post_hook(lambda module, _: module.check())

    @property
    def tail(self) -> nn.Sequential:
        """The layers whose weights it is over."""
        return self._tail[0]

    @property
    def wide(self) -> bool:
        """Whether any weight is open."""
        return bool(self.variance.any())

    def check(self) -> None:
        """Refuse variances that are none."""
        if not torch.isfinite(self.variance).all() or (self.variance < 0).any():
            raise BundleError(
                "the posterior of the deeper layers holds NaN, infinite or negative variances: fit the model again, or "
                "restore its weights."
            )

    def weights(self) -> dict[str, Tensor]:
        """What it is over, by name; the order is that of `variance`."""
        own = dict(self.tail.named_parameters())
        return {name: own[name].detach() for name in self.names}

    def curvature(self, output: nn.Conv3d, stream: FeatureStream) -> Tensor:
        """Diagonal of the Gauss-Newton matrix `[P]`, float64, summed over the labelled voxels of a stream.

        Args:
            output: the output layer.
            stream: what enters the tail, of whole windows, and classes.
        """
        total = torch.zeros(self.variance.shape, dtype=torch.float64)
        for entered, target in stream:
            found = diagonal_ggn(self.tail, output, entered, target >= 0)
            total += torch.cat([found[name].flatten() for name in self.names]).double().cpu()
        return total

    def set(self, curvature: Tensor, tempering: float, precision: float) -> None:
        """Take the variances 1 / (s H + tau) of a curvature's diagonal."""
        self.variance.copy_((tempering * curvature + precision).reciprocal())
        self.check()

    def moved(self, entered: Tensor) -> Tensor:
        """How each draw moves the last features, to first order, over sqrt(R): `[B, R, F, *spatial]`.

        Args:
            entered: what enters the tail, `[B, F', *spatial]`.
        """
        with torch.inference_mode(False):  # forward differentiation needs tensors that know of it
            x, weights = entered.clone(), self.weights()

            def features(changed: dict[str, Tensor]) -> Tensor:
                return torch.func.functional_call(self.tail, changed, (x,))

            found = [torch.func.jvp(features, (weights,), (draw,))[1] for draw in self._drawn(weights)]
            return torch.stack(found, dim=1) / self.draws**0.5

    def _drawn(self, weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        """The draws, the same in every window: `[R]` times weights by name."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(self.draws, len(self.variance), generator=generator).to(self.variance)
        sizes = [weight.numel() for weight in weights.values()]
        parts = (self.variance.clone().sqrt() * noise).split(sizes, dim=1)
        whole = [part.unflatten(1, weight.shape) for part, weight in zip(parts, weights.values(), strict=True)]
        return [dict(zip(weights, draw, strict=True)) for draw in zip(*whole, strict=True)]
