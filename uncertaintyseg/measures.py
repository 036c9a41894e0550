"""Risk maps from moments, under the names they have everywhere. Higher is riskier; entropies are in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from uncertaintyseg.logits import Moments
from uncertaintyseg.wire import MapInfo, Source

MEASURES = (
    "variance",
    "predictive_entropy",
    "expected_entropy",
    "mutual_information",
    "margin_risk",
    "error_probability",
)

FUSED = "fused_uncertainty"
"""Sum of w_i u_i over fused methods, in nats (`inference.passes.fused`)."""


def predictive_entropy(probability: Tensor) -> Tensor:
    """H(E[p]) in nats, `[B, 1, *spatial]` from `[B, C, *spatial]`."""
    return torch.special.entr(probability).sum(1, keepdim=True)


def margin_risk(probability: Tensor) -> Tensor:
    """1 - (largest - second largest E[p]), `[B, 1, *spatial]`."""
    if probability.shape[1] == 2:
        return 1 - (probability[:, 1:] - probability[:, :1]).abs()
    first, second = probability[:, :1].clone(), torch.zeros_like(probability[:, :1])
    for own in probability[:, 1:].split(1, dim=1):  # torch's topk is slow across voxels
        second = torch.maximum(second, torch.minimum(first, own))
        first = torch.maximum(first, own)
    return 1 - (first - second)


def voxel_maps(probability: Tensor, variance: Tensor, expected_entropy: Tensor) -> dict[str, Tensor]:
    """The maps in `MEASURES` that need no label, each `[B, 1, *spatial]`.

    Args:
        probability: E[p] `[B, C, *spatial]`.
        variance: half the sum over classes of Var[p_c], `[B, 1, *spatial]`.
        expected_entropy: E[H(p)] in nats, `[B, 1, *spatial]`.
    """
    entropy = predictive_entropy(probability)
    return {
        "variance": variance,
        "predictive_entropy": entropy,
        "expected_entropy": torch.minimum(expected_entropy, entropy),
        "mutual_information": (entropy - expected_entropy).clamp_min(0),
        "margin_risk": margin_risk(probability),
    }


def risk_maps(moments: Moments, class_names: Sequence[str]) -> dict[str, Tensor]:
    """Every map of a distribution, each `[B, 1, *spatial]`.

    `variance` is half the sum over classes of Var[p_c]; with two classes that is Var of the foreground. The other
    names are in `MEASURES`; `error_probability` is 1 - E[p] of the most likely class. Then follow `probability_<name>`
    and `variance_<name>` for each class but the background.

    Args:
        moments: of C classes.
        class_names: names of the C - 1 structures.
    """
    p, variance = moments.probability, moments.variance
    maps = voxel_maps(p, variance.sum(1, keepdim=True) / 2, moments.expected_entropy)
    maps["error_probability"] = 1 - p.amax(1, keepdim=True)
    for index, name in enumerate(class_names, start=1):
        maps[f"probability_{name}"] = p[:, index : index + 1]
        maps[f"variance_{name}"] = variance[:, index : index + 1]
    return maps


def map_info(name: str, classes: int, source: Source) -> MapInfo:
    """Unit and range of a map of `classes` classes, background included."""
    if name.endswith("entropy") or name in ("mutual_information", FUSED):
        return MapInfo(url=None, unit="nats", range=(0.0, math.log(classes)), source=source)
    top = {"variance": 0.5 * (1 - 1 / classes), "error_probability": 1 - 1 / classes}
    high = 0.25 if name.startswith("variance_") else top.get(name, 1.0)
    return MapInfo(url=None, unit="1", range=(0.0, high), source=source)
