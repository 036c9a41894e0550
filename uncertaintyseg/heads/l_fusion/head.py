"""L-FUSION: a Laplace path and a dropout path on the same features of a frozen network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.base import FeatureStream, Head, HeadOutput, Later
from uncertaintyseg.heads.dropout import DropoutHead
from uncertaintyseg.heads.l_fusion.formula import (
    inter_path,
    intra_path,
    of_gaussian,
    of_passes,
    pairwise_kl_of_passes,
    seen_by_passes,
)
from uncertaintyseg.heads.laplace import LaplaceHead
from uncertaintyseg.heads.laplace.head import deeper_note
from uncertaintyseg.heads.laplace.split import LARGEST_KL, pairwise_kl
from uncertaintyseg.logits import GaussianLogits, LogitEnsemble, Moments, Sum
from uncertaintyseg.logits.covariance import Covariance
from uncertaintyseg.measures import voxel_maps
from uncertaintyseg.wire import MapInfo, Source

LAPLACE_MEASURES = ("variance", "mutual_information", "expected_entropy", "expected_pairwise_kl")
"""PV, MI, EE and EPKL of the Laplace path."""
DROPOUT_MEASURES = tuple(f"dropout_{name}" for name in LAPLACE_MEASURES)
MEASURES = (*LAPLACE_MEASURES, *DROPOUT_MEASURES)
FORMULAS = {
    "l_fusion_uncertainty": "sqrt(Var[eta_L - eta_D]) x H((p_L + p_D) / 2) x s",
    "l_fusion_literal": "sqrt(Var[eta_L - eta_D]) x H(softmax(E eta_L - E eta_D)) x s, largest where the paths agree",
    "l_fusion_with_gap": "sqrt(Var[eta_L - eta_D] + (E eta_L - E eta_D)^2) x H((p_L + p_D) / 2) x s",
    "l_fusion_laplace": "sqrt(2 Var eta_L) x H(p_L) x s",
    "l_fusion_dropout": "sqrt(2 Var eta_D) x H(p_D) x s",
}
"""Maps across both paths, and within each."""
LARGEST_STD = 20.0
"""Standard deviation of logits from which fused maps, before s, are cut off."""
_VOXELS = 2**12
"""Of each validation window, to choose a measure on."""


class LFusionHead(Head):
    """SSN logits with a Laplace posterior, and dropout blocks, on one frozen network (paper 000; METHODS 4.5).

    Both learn at once by the same objective, neither reaches the other; then the posterior of the Laplace path is
    fitted, and the measure is chosen whose variance over voxels weighs a case's fused maps: of PV, MI, EE and EPKL of
    both paths the one that finds wrong voxels of validation cases best (AUROC). Label, probabilities and the usual maps
    are those of the Laplace path.

    The paper gives no losses, rates or precisions (METHODS A26): these are ours. Its posterior covers the head's
    weights, here those of the output layer, where it is exact, or with `depth` those of deeper layers too.

    Args:
        features: channels F entering the head.
        classes: C, background included.
        rank: R of the SSN logits.
        blocks: convolutional blocks of the dropout path, 1 or more.
        rate: chance of dropping behind each of them.
        passes, seed: of the dropout path in evaluation; the paper has 20 for speed and 50 for scans from elsewhere.
        kernel: of the blocks' convolutions.
        posterior: options of the Laplace head: `structure`, `choose`, `prior_precision`, `tempering`, `draws`.
        depth: of the Laplace path's posterior, as of `LaplaceHead`; a heuristic from 2 on.

    Raises:
        BundleError: for options that one of the paths cannot take.
    """

    name = "l_fusion"
    paper = "Müller et al., L-FUSION: Laplacian Fetal Ultrasound Segmentation and Uncertainty Estimation"
    summary = "SSN logits with a Laplace posterior and dropout blocks on one frozen network, and a map of both"
    source = "total"
    objective = "ssn_joint_marginal"
    completed = True
    whole_windows = True
    further = ("dropout",)
    of_images = MappingProxyType({"kernel": [3, 3, 1]})

    def __init__(
        self,
        features: int,
        classes: int,
        rank: int = 10,
        blocks: int = 2,
        rate: float = 0.2,
        passes: int = 20,
        seed: int = 0,
        kernel: tuple[int, int, int] = (3, 3, 3),
        posterior: Mapping[str, Any] | None = None,
        depth: int = 1,
    ) -> None:
        super().__init__(features, classes)
        if blocks < 1:
            raise BundleError(f"'blocks' is {blocks}: the dropout path of L-FUSION has 1 or more.")
        del self.mean  # each path has its own
        options = {"base_options": {"rank": rank}, "split": False, "depth": depth} | dict(posterior or {})
        self.laplace = LaplaceHead(features, classes, base="low_rank", **options)
        self.dropout = DropoutHead(features, classes, rate, blocks, passes=passes, seed=seed, kernel=kernel)
        self.summary += deeper_note(depth).replace("over", "the posterior over")
        self.register_buffer("merit", torch.full((len(MEASURES),), 0.5))

    @property
    def mean(self) -> nn.Conv3d:
        """The output layer of the Laplace path."""
        return self.laplace.mean

    @property
    def depth(self) -> int:
        return self.laplace.depth

    @property
    def tail(self) -> nn.Sequential | None:
        return self.laplace.tail

    @property
    def channels_beside(self) -> int:
        return self.laplace.channels_beside

    def stand_on(self, tail: nn.Sequential) -> None:
        self.laplace.stand_on(tail)

    def beside(self, entered: Tensor) -> Tensor:
        return self.laplace.beside(entered)

    @property
    def coherent(self) -> bool:
        return True

    @property
    def passes(self) -> int:
        return 1 + self.dropout.passes

    def best(self, among: tuple[str, ...] = MEASURES) -> str:
        """Of some measures the one that found wrong voxels of the validation cases best."""
        merit = dict(zip(MEASURES, self.merit.tolist(), strict=True))
        return max(among, key=merit.__getitem__)

    @property
    def scaled_by(self) -> dict[str, str]:
        own = {"l_fusion_laplace": LAPLACE_MEASURES, "l_fusion_dropout": DROPOUT_MEASURES}
        return {name: self.best(own.get(name, MEASURES)) for name in FORMULAS}

    def extra_maps(self) -> dict[str, MapInfo]:
        entropy, largest = math.log(self.classes), LARGEST_STD * math.log(self.classes)
        ranges: dict[str, tuple[float, str, Source]] = {
            "variance": (0.5 * (1 - 1 / self.classes), "1", "epistemic"),
            "mutual_information": (entropy, "nats", "epistemic"),
            "expected_entropy": (entropy, "nats", "aleatoric"),
            "expected_pairwise_kl": (LARGEST_KL, "nats", "epistemic"),
        }
        found = {"expected_pairwise_kl": MapInfo(unit="nats", range=(0.0, LARGEST_KL), source="epistemic")}
        for name, (high, unit, source) in ranges.items():
            found[f"dropout_{name}"] = MapInfo(unit=unit, range=(0.0, high), source=source)
        for name, formula in FORMULAS.items():
            text = f"{formula}; s is the variance of '{self.scaled_by[name]}' over the scan."
            found[name] = MapInfo(unit="1", range=(0.0, largest), source="total", description=text)
        return found

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        if self.training:
            dropout = self.dropout(features).distribution
            output = self.laplace.base(features)
            return HeadOutput(output.distribution, output.maps, output.penalties, paths={"dropout": dropout})
        features, deeper = self.laplace.apart(features)
        base = self.laplace.base(features).distribution
        noise = self.laplace.noise(features, deeper)
        laplace = _Once(base.mean, Sum(base.covariance, noise))
        dropout = self.dropout.stream(features, seen_by_passes)
        maps = Later(self.extra_maps(), lambda: self._maps(laplace, base.covariance, noise, dropout))
        return HeadOutput(laplace, maps, paths={"dropout": dropout})

    @torch.no_grad()
    def _maps(
        self, laplace: GaussianLogits, aleatoric: Covariance, epistemic: Covariance, dropout: LogitEnsemble
    ) -> dict[str, Tensor]:
        paths = of_gaussian(laplace), of_passes(dropout)
        found = {f"dropout_{name}": value for name, value in _measures(dropout.moments()).items()} | {
            "expected_pairwise_kl": pairwise_kl(laplace.mean, aleatoric, epistemic),
            "dropout_expected_pairwise_kl": pairwise_kl_of_passes(dropout),
            "l_fusion_uncertainty": inter_path(*paths),
            "l_fusion_literal": inter_path(*paths, entropy_of="difference"),
            "l_fusion_with_gap": inter_path(*paths, mean_gap=True),
            "l_fusion_laplace": intra_path(paths[0]),
            "l_fusion_dropout": intra_path(paths[1]),
        }
        return {name: found[name].clamp(*info.range) for name, info in self.extra_maps().items()}

    @torch.no_grad()
    def fit(
        self, training: FeatureStream, validation: FeatureStream, below: FeatureStream | None = None
    ) -> dict[str, float]:
        """Fit the posterior of the Laplace path, and choose the measure that weighs the fused maps.

        Returns:
            What `LaplaceHead.fit` reports, and of each measure the AUROC by which it was judged, `auroc_<measure>`.

        Raises:
            InputError: as `LaplaceHead.fit`.
        """
        self.eval()
        report = self.laplace.fit(training, validation, below)
        risks, wrong = self._judged(validation)
        merit = [_auroc(risk, wrong) for risk in risks]
        self.merit.copy_(torch.tensor(merit))
        return report | {f"auroc_{name}": value for name, value in zip(MEASURES, merit, strict=True)}

    def _judged(self, stream: FeatureStream) -> tuple[np.ndarray, np.ndarray]:
        """Every measure `[8, n]` of a sample of the voxels of a stream, and where the label is wrong, bool `[n]`."""
        generator, risks, wrong = torch.Generator().manual_seed(0), [], []
        for features, target in stream:
            output, classes = self(features), target.flatten()
            measures = _measures(output.distribution.moments()) | dict(output.maps)
            stacked = torch.stack([measures[name].flatten() for name in MEASURES])
            known = (classes >= 0).nonzero()[:, 0]
            chosen = known[torch.randperm(len(known), generator=generator)[:_VOXELS].to(known.device)]
            label = output.distribution.mean.argmax(1).flatten()
            risks.append(stacked[:, chosen].cpu())
            wrong.append((label != classes)[chosen].cpu())
        return torch.cat(risks, dim=1).numpy(), torch.cat(wrong).numpy()


class _Once(GaussianLogits):
    """Logits whose moments are needed for the label and for maps, and made once."""

    @cached_property
    def _own(self) -> Moments:
        return super().moments()

    def moments(self, nodes: int | None = None) -> Moments:
        return self._own if nodes is None else super().moments(nodes)


def _measures(moments: Moments) -> dict[str, Tensor]:
    """PV, MI and EE, each `[B, 1, *spatial]`."""
    variance = moments.variance.sum(1, keepdim=True) / 2
    maps = voxel_maps(moments.probability, variance, moments.expected_entropy)
    return {name: maps[name] for name in LAPLACE_MEASURES if name in maps}


def _auroc(risk: np.ndarray, wrong: np.ndarray) -> float:
    """Chance that a wrong voxel has a higher risk than a right one, ties counting half; 0.5 without one of the two."""
    errors = int(wrong.sum())
    others = wrong.size - errors
    if not errors or not others:
        return 0.5
    return float((rankdata(risk)[wrong].sum() - errors * (errors + 1) / 2) / (errors * others))
