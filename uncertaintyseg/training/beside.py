"""A head beside the model that it was put on: its scores, and how far it moves the label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from monai.data import CacheDataset
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.inference.bundle import SHIFT, Bundle
from uncertaintyseg.inference.label_shift import CountedShift
from uncertaintyseg.inference.stream import LogitAverage, MomentAverage, WindowLayout
from uncertaintyseg.inference.stream.averages import Contribution, answers
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.posterior import LabelledVolumes
from uncertaintyseg.training.validation import Scores, averaged
from uncertaintyseg.wire import LabelShift


def score_beside(
    bundle: Bundle, network: Segmenter, base: Bundle | None, cases: CacheDataset, device: str
) -> tuple[dict[str, float], LabelShift | None]:
    """Scores of a network whose backbone is its base's, and the shift of its label, in one reading of the cases.

    Each window goes through the backbone once, and once more for each mirroring that the base averages over.

    Args:
        bundle: of the network.
        network: on the device, in evaluation mode.
        base: the model that its head was put on, where there is one to compare with.
        cases: preprocessed, with labels.
        device: torch device.

    Returns:
        "dice" and "nll" as of `validation.validate`, and how far the label of the base as `predict` makes it is moved;
        None without a base, or where its head reads taps.
    """
    network.eval()
    start = base and base.network().to(device)
    compared = start is not None and not start.head.taps
    average = MomentAverage(network, network.head.classes)
    if compared:
        logits = base.config.get("average") == "logits"
        average = _Beside(network, start, logits=logits, mirrors=base.config.get("mirrors") or () if logits else ())
    scores, moved, foreground = Scores(network.head.classes), 0, 0
    for image, label in LabelledVolumes(cases, torch.device(device)):
        found = averaged(image[0], network, average, WindowLayout.of(bundle, network.divisor))
        probability = found["probability"][None]
        scores.update(probability, label)
        if compared:
            before = found["base"].argmax(0)
            known = label[0, 0] != IGNORED
            moved += int(((probability[0].argmax(0) != before) & known).sum())
            foreground += int(((before > 0) & known).sum())
    shift = LabelShift(base=base.name, voxels=moved, foreground=foreground) if compared else None
    return scores.compute(), shift


def keep_shift(bundle: Bundle, shift: LabelShift | None) -> Bundle:
    """Write what `label_shift` of a bundle is for its present weights, None removes what was there; returns it."""
    if shift is None:
        (bundle.folder / SHIFT).unlink(missing_ok=True)
    else:
        counted = CountedShift(weights_checksum=bundle.checksum, shift=shift)
        write_bytes(bundle.folder / SHIFT, counted.model_dump_json(indent=2).encode())
    return bundle


class _Beside(MomentAverage):
    """Averages the moments of a network's head and, as "base", what its base does: also over its mirrorings."""

    def __init__(self, network: Segmenter, start: Segmenter, *, logits: bool, mirrors: Sequence[int]) -> None:
        super().__init__(network, network.head.classes, features=True)
        self.start, self.logits = start, logits
        self.mirrored = LogitAverage([start], self.classes, mirrors=mirrors).members[1:]

    def read(self, patch: Tensor) -> Iterator[Contribution]:
        share = 1 / (1 + len(self.mirrored))
        for planes, whole, values in super().read(patch):
            kept = {name: value for name, value in values.items() if name != "features"}
            yield Contribution(planes, whole, kept)
            distribution = self.start.head(values["features"][None, : self.start.head.features].float()).distribution
            own = distribution.mean if self.logits else distribution.moments().probability
            yield Contribution(planes, share, {"base": own[0]})
        for network, axes in self.mirrored:
            for planes, output, _ in answers(network, patch, self.classes, axes):
                yield Contribution(planes, share, {"base": output.distribution.mean[0]})
