"""A head beside the model that it was put on: its scores, and how far it moves the label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from monai.data import CacheDataset
from torch import Tensor

from uncertaintyseg.heads import Head
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.stream import MomentAverage, WindowLayout
from uncertaintyseg.inference.stream.averages import Contribution
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.posterior import LabelledVolumes
from uncertaintyseg.training.validation import Scores, averaged


@dataclass(frozen=True)
class Shift:
    """How far a head moves the label of its base, on the model's grid of the validation cases.

    Attributes:
        base: name of the base.
        voxels: that have another label.
        foreground: voxels that the base labels as a structure.
    """

    base: str
    voxels: int
    foreground: int

    @property
    def percent(self) -> float:
        """Of the base's foreground."""
        return 100 * self.voxels / max(self.foreground, 1)


def score_beside(
    bundle: Bundle, network: Segmenter, base: Bundle | None, cases: CacheDataset, device: str
) -> tuple[dict[str, float], Shift | None]:
    """Scores of a network whose backbone is its base's, and the shift of its label, in one pass over the cases.

    Args:
        bundle: of the network.
        network: on the device, in evaluation mode.
        base: the model that its head was put on, where there is one to compare with.
        cases: preprocessed, with labels.
        device: torch device.

    Returns:
        "dice" and "nll" as of `validation.validate`, and the shift; None without a base, or where its head reads taps.
    """
    network.eval()
    start = base and base.network().head.to(device)
    compared = start is not None and not start.taps
    average = MomentAverage(network, network.head.classes)
    if compared:
        average = _Beside(network, start, logits=base.config.get("average") == "logits")
    scores, moved, foreground = Scores(network.head.classes), 0, 0
    for image, label in LabelledVolumes(cases, torch.device(device)):
        found = averaged(image[0], network, average, WindowLayout.of(bundle, network.divisor))
        probability = found["probability"][None]
        scores.update(probability, label)
        if compared:
            before = found["base"].argmax(0)
            moved += int((probability[0].argmax(0) != before).sum())
            foreground += int((before > 0).sum())
    return scores.compute(), Shift(base.name, moved, foreground) if compared else None


class _Beside(MomentAverage):
    """Averages the moments of a network's head and, of the same features, what its base averages, as "base"."""

    def __init__(self, network: Segmenter, start: Head, variances: Sequence[int] = (), *, logits: bool) -> None:
        super().__init__(network, network.head.classes, variances, features=True)
        self.start, self.logits = start, logits

    def read(self, patch: Tensor) -> Iterator[Contribution]:
        for planes, share, values in super().read(patch):
            kept = {name: value for name, value in values.items() if name != "features"}
            distribution = self.start(values["features"][None].float()).distribution
            base = distribution.mean if self.logits else distribution.moments().probability
            yield Contribution(planes, share, kept | {"base": base[0]})
