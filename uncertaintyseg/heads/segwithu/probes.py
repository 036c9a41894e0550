"""Rank-one probes: how far the class probabilities move when the logits are nudged (METHODS 7.2, items 2 to 4)."""

from __future__ import annotations

import math

import torch
from scipy.linalg import hadamard
from torch import Tensor, nn

from uncertaintyseg.logits import Basis, GaussianLogits

FIRST_SCALE = 0.1
_LEAST_SCALE = 1e-6


def cosine_signs() -> Tensor:
    """The 8 sign patterns of the authors' code `[8, 8]`: of cos(pi i (j + 1/2) / 8), i = 1 .. 8, j = 0 .. 7.

    The cosines of row 8 are zeros, whose signs are rounding noise; here they are those of float32 (METHODS A19).
    """
    i, j = torch.arange(1, 8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    rows = torch.where((math.pi * i * (j + 0.5) / 8).cos() >= 0, 1.0, -1.0)
    return torch.cat([rows, torch.tensor([[-1.0, 1.0] * 4])]).float()


def balanced_signs(rank: int) -> Tensor:
    """Rows of a Sylvester-Hadamard matrix and their negatives `[patterns, rank]`: zero mean, uncorrelated columns."""
    rows = torch.as_tensor(hadamard(1 << (rank - 1).bit_length()), dtype=torch.float32)[:, :rank]
    return torch.cat([rows, -rows])


def spread(logits: Tensor, amplitude: Tensor, basis: Tensor, signs: Tensor) -> Tensor:
    """Sum over classes of the variance, over sign patterns z, of softmax(eta + W_c (z o a)); `[B, 1, *spatial]`.

    Args:
        logits: eta, `[B, C, *spatial]`.
        amplitude: a = sigma o v, `[B, R, *spatial]`.
        basis: W_c, `[C, R]`.
        signs: z, `[patterns, R]`.
    """
    centre = logits.softmax(1)
    first, second = torch.zeros_like(centre), torch.zeros_like(centre)
    for pattern in signs:
        nudge = nn.functional.conv3d(amplitude, (basis * pattern)[..., None, None, None])
        moved = (logits + nudge).softmax(1) - centre  # about the centre, so that small variances do not cancel
        first, second = first + moved, second + moved.square()
    return (second / len(signs) - (first / len(signs)).square()).sum(1, keepdim=True).clamp_min(0)


class Probes(nn.Module):
    """v = W_p F, scaled by sigma and mapped to classes by W_c.

    Args:
        width: channels of the features F.
        classes: C.
        rank: R, number of probes.
        faithful: the authors' sign patterns, which need rank 8; otherwise balanced ones, or none with two classes,
            where Gaussian signs have a closed form: 2 Var[p] of a Single-Basis covariance (METHODS 1.1, 7.6).
    """

    def __init__(self, width: int, classes: int, rank: int, faithful: bool) -> None:
        super().__init__()
        self.vector = nn.Conv3d(width, rank, 1, bias=False)
        self.scale = nn.Parameter(torch.full((rank,), math.log(math.expm1(FIRST_SCALE - _LEAST_SCALE))))
        self.to_classes = nn.Conv3d(rank, classes, 1, bias=False)
        self.closed = classes == 2 and not faithful
        self.register_buffer("signs", cosine_signs() if faithful else balanced_signs(rank), persistent=False)

    def amplitude(self, features: Tensor) -> Tensor:
        """Scaled probes sigma o v `[B, R, *spatial]`."""
        scale = nn.functional.softplus(self.scale) + _LEAST_SCALE
        return scale[:, None, None, None] * self.vector(features)

    def variance(self, logits: Tensor, amplitude: Tensor) -> Tensor:
        """U_epi `[B, 1, *spatial]`: the variance of the class probabilities under the probes, summed over classes."""
        basis = self.to_classes.weight[..., 0, 0, 0]
        if not self.closed:
            return spread(logits, amplitude, basis, self.signs)
        distribution = GaussianLogits(logits, Basis(amplitude, basis[None, :, :, None, None, None]))
        return distribution.moments().variance.sum(1, keepdim=True)
