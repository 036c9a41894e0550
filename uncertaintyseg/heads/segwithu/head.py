"""SegWithU's head: two maps, one to rank voxels by risk and one to temper the logits, beside a frozen network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.base import Head, HeadOutput
from uncertaintyseg.heads.segwithu import losses
from uncertaintyseg.heads.segwithu.fusion import Fusion, resized
from uncertaintyseg.heads.segwithu.probes import Probes
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.measures import margin_risk, predictive_entropy
from uncertaintyseg.wire import MapInfo

FAITHFUL_RECIPE = {
    "epochs": 100,
    "patience": 10,
    "validate_every": 1,
    "best": "validation_loss",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "final_learning_rate": 3e-4,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "clip": 12.0,
}
"""How its authors train it (METHODS 7.4)."""


class SegWithU(Head):
    """Logits eta / sqrt(1 + U_cal), and U_rnk, from probes on the features of a frozen network (METHODS 7.2).

    The output layer is frozen and features are taken as they are: nothing that is learned here reaches the network, and
    its most likely class stays what it was. Losses come through `HeadOutput.terms`.

    At the start the ranking is close to the plain margin, so compare it with `margin_risk` before claiming more.

    Args:
        features: channels F of the last features.
        classes: C, background included.
        taps: channels of the backbone's taps by name, e.g. {"up_1": 256, "up_2": 128}. Without them the probes sit on
            the last features and there is nothing to fuse.
        rank: R, number of probes.
        width: channels of the fused features.
        faithful: exactly the authors' code, with its sign patterns and its fusion at full resolution, and a new model's
            recipe is theirs (`FAITHFUL_RECIPE`). Otherwise taps
            are added up on the finest one's grid, signs are balanced (none with two classes), and there is no offset
            e_b of the ranking, on which no term of the loss depends (METHODS 7.6).
        weights: of the loss's terms, where they differ from `losses.WEIGHTS`.

    Raises:
        BundleError: for a rank below 1, another rank than 8 where faithful, or a weight of a term that does not exist.
    """

    name = "segwithu"
    paper = "SegWithU (arXiv:2604.15271)"
    summary = "probes beside a frozen network: one map ranks the voxels by risk, another tempers the probabilities"
    source = "total"
    stochastic = False
    fuses = True
    reaches_backbone = False

    def __init__(
        self,
        features: int,
        classes: int,
        taps: Mapping[str, int] | None = None,
        rank: int = 8,
        width: int = 32,
        faithful: bool = False,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(features, classes)
        if rank < 1 or (faithful and rank != 8):
            raise BundleError(f"SegWithU's 'rank' is 1 or more, and 8 where 'faithful'; it is {rank}.")
        unknown = sorted(set(weights or {}) - set(losses.WEIGHTS))
        if unknown:
            raise BundleError(f"SegWithU has no loss term '{unknown[0]}'; 'weights' knows {', '.join(losses.WEIGHTS)}.")
        self.weights = losses.WEIGHTS | dict(weights or {})
        self.faithful = faithful
        self.mean.requires_grad_(False)
        self.fusion = Fusion(taps, features, width, faithful) if taps else None
        width = width if taps else features
        self.probes = Probes(width, classes, rank, faithful)
        self.aleatoric = nn.Conv3d(width, 1, 1)
        self.calibration = nn.Conv3d(3, 1, 1)
        self.stretch = nn.Parameter(torch.ones(()))
        self.sharpness = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(())) if faithful else None

    @property
    def taps(self) -> tuple[str, ...]:
        return tuple(self.fusion.taps) if self.fusion else ()

    @property
    def recipe(self) -> Mapping[str, object]:
        return FAITHFUL_RECIPE if self.faithful else {}

    def extra_maps(self) -> dict[str, MapInfo]:
        return {
            "ranking": MapInfo(unit="1", range=(0.0, 8.0), source="total"),
            "calibration": MapInfo(unit="1", range=(0.0, 24.0), source="total"),
            "probe_variance": MapInfo(unit="1", range=(0.0, 1 - 1 / self.classes), source="epistemic"),
        }

    def forward(self, features: Tensor, taps: Mapping[str, Tensor] | None = None) -> HeadOutput:
        """Features `[B, F, *spatial]` (and taps) to a point mass on the tempered logits, and the maps.

        Raises:
            BundleError: for a tap that is missing or has another number of channels.
            InputError: for an image so small that one voxel is left to fuse.
        """
        features = features.detach()
        logits = self.mean(features)
        fused = features
        if self.fusion:
            fused = self.fusion(features, {name: tap.detach() for name, tap in (taps or {}).items()})
        read = torch.cat([self.probes.amplitude(fused), self.aleatoric(fused)], dim=1)  # linear, so it is resized after
        amplitude, aleatoric = resized(read, logits.shape[2:]).tensor_split([-1], dim=1)

        probability = logits.softmax(1)
        margin = 1 - margin_risk(probability)
        closeness = (-4 * margin).exp()
        variance = self.probes.variance(logits, amplitude)
        nudge = self.probes.to_classes(amplitude)
        energy = nudge.square().mean(1, keepdim=True)
        evidence = [(variance + energy).log1p(), functional.softplus(aleatoric).log1p(), margin]
        calibration = functional.softplus(self.calibration(torch.cat(evidence, dim=1)))
        tempered = logits / (1 + calibration).sqrt()  # never below 1, as the calibration is not below 0
        entropy = predictive_entropy(probability) / max(math.log(self.classes), 1.0)
        anchor = variance.log1p() + 0.5 * energy.log1p() + 0.25 * calibration.log1p() + 0.25 * entropy + closeness
        ranking = self._ranking(anchor, closeness)

        found = {"ranking": ranking, "calibration": calibration, "probe_variance": variance}
        maps = {name: found[name].clamp(*info.range) for name, info in self.extra_maps().items()}
        distribution = GaussianLogits(tempered)
        if not self.training:
            return HeadOutput(distribution, maps)
        probed = losses.Probed(logits, tempered, nudge, energy, closeness, anchor, ranking)
        return HeadOutput(distribution, maps, terms=partial(self._terms, probed))

    def _ranking(self, anchor: Tensor, closeness: Tensor) -> Tensor:
        ranking = (1 + 0.1 * self.stretch.tanh()) * anchor + functional.softplus(self.sharpness) * closeness
        return ranking if self.offset is None else ranking + self.offset

    def _terms(
        self, probed: losses.Probed, target: Tensor, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        found = losses.terms(probed, target, generator)
        return {name: self.weights[name] * value for name, value in found.items()}
