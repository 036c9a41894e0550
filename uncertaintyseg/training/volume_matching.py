"""A bias of each structure's logit, after a fit, with which predicted volumes are those of the validation labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from monai.data import Dataset
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.stream import MomentAverage, WindowLayout
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.posterior import LabelledVolumes
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.validation import Scores, averaged

Progress = Callable[[str, float], None]
LARGEST = 2.0
"""Of a bias, in nats: more than that is another mistake than where a border lies."""
SHARES = (1.0, 0.5, 0.25)
"""Of the biases that are tried, one after another, until one costs no Dice."""
_ROUNDS, _SWEEPS, _KEPT = 2, 50, 1.5e8


@dataclass(frozen=True)
class VolumeMatch:
    """What the matching of volumes found on the validation cases.

    Attributes:
        biases: what was added to each structure's logit, by its name; all 0 where nothing was kept.
        before: error of each structure's volume, all cases together, as a share of the true one: + is too large. None
            for a structure that no label holds.
        after: the same with the biases.
        validation: "dice" and "nll" with the biases.
        dice_before: without them.
    """

    biases: dict[str, float]
    before: dict[str, float | None]
    after: dict[str, float | None]
    validation: dict[str, float]
    dice_before: float

    @property
    def kept(self) -> bool:
        """Whether the model was changed."""
        return any(self.biases.values())

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self) | {"kept": self.kept}


def check_matching(network: Segmenter, recipe: Recipe) -> None:
    """Refuse to match the volumes of a model whose label is another's.

    Raises:
        BundleError: for a head that is put on a trained model, or an output layer that is not the last.
    """
    if recipe.match_volumes and (recipe.stage != "backbone" or not network.head.direct):
        raise BundleError(
            "'recipe.match_volumes' moves the borders of a model, and a head leaves those of the model it is put on as "
            "they are: match the volumes of that model when it is trained, and leave it out here."
        )


def match_volumes(
    bundle: Bundle, cases: Dataset, device: str = "cpu", progress: Progress = lambda stage, fraction: None
) -> VolumeMatch:
    """Add a bias to each structure's logit, so that predicted volumes are right on average, and save the model.

    Reading are those of the label that inference makes, on the model's windows. Where the whole bias lowers the mean
    Dice a half or a quarter of it is taken; where that does too, the model stays as it is.

    Args:
        bundle: a trained model.
        cases: preprocessed, with labels; not those that it was trained on.
        device: torch device.
        progress: called with a line of text and the fraction done.
    """
    network = bundle.network().to(device)
    reader = _Reader(bundle, network, cases, device)
    progress("matching volumes", 0.0)
    start, bias = network.head.mean.bias.detach().clone(), torch.zeros(len(bundle.labels))
    before = reader.read()
    seen = before
    for step in range(_ROUNDS):  # the mean over windows is not quite moved as each of them is
        bias = (bias + balance(seen)).clamp(-LARGEST, LARGEST)
        _set(network, start, bias)
        progress("matching volumes", (step + 1) / (_ROUNDS + 1))
        seen = reader.read()
    after = before
    for share in SHARES:
        if share < 1:
            _set(network, start, share * bias)
            seen = reader.read()
        if seen.scores["dice"] >= before.scores["dice"]:
            after, bias = seen, share * bias
            bundle.save(network)
            break
    else:
        bias = torch.zeros_like(bias)
    names = [label.name for label in bundle.labels]
    progress("matching volumes", 1.0)
    return VolumeMatch(
        dict(zip(names, bias.tolist(), strict=True)),
        dict(zip(names, before.errors, strict=True)),
        dict(zip(names, after.errors, strict=True)),
        after.scores,
        before.scores["dice"],
    )


def _set(network: Segmenter, start: Tensor, bias: Tensor) -> None:
    moved = start + torch.cat([torch.zeros(1), bias]).to(start)
    with torch.no_grad():
        network.head.mean.bias.copy_(moved.half())  # as it will be saved


@dataclass(frozen=True)
class Reading:
    """What a network predicts of labelled cases, and the voxels that a bias can move.

    Attributes:
        predicted, true: voxels of each class `[C]`, the background first.
        decided: predicted voxels that no bias within `LARGEST` moves `[C]`.
        open: log probabilities of the others `[C, n]`.
        weights: how many voxels each of those stands for `[n]`.
        scores: "dice" and "nll".
    """

    predicted: Tensor
    true: Tensor
    decided: Tensor
    open: Tensor
    weights: Tensor
    scores: dict[str, float]

    @property
    def errors(self) -> list[float | None]:
        """(predicted - true) / true of each structure."""
        pairs = zip(self.predicted[1:].tolist(), self.true[1:].tolist(), strict=True)
        return [(predicted - true) / true if true else None for predicted, true in pairs]


class _Reader:
    """Reads cases as a model's windows do."""

    def __init__(self, bundle: Bundle, network: Segmenter, cases: Dataset, device: str) -> None:
        self.network = network.eval()
        self.volumes = LabelledVolumes(cases, torch.device(device))
        self.layout = WindowLayout.of(bundle, network.divisor)
        self.most = max(int(_KEPT / (network.head.classes * len(self.volumes))), 1)

    @torch.no_grad()
    def read(self) -> Reading:
        classes = self.network.head.classes
        average, scores = MomentAverage(self.network, classes), Scores(classes)
        predicted, true, decided = torch.zeros(3, classes, dtype=torch.float64)
        kept, weights = [], []
        for image, label in self.volumes:
            probability = averaged(image[0], self.network, average, self.layout)["probability"]
            scores.update(probability[None], label)
            known = label[0, 0] != IGNORED
            logits = probability[:, known].clamp_min(1e-12).log()
            true += torch.bincount(label[0, 0][known], minlength=classes).cpu()
            best, second = logits.topk(2, dim=0).values
            own = logits.argmax(0)
            predicted += torch.bincount(own, minlength=classes).cpu()
            moves = best - second < 2 * LARGEST
            decided += torch.bincount(own[~moves], minlength=classes).cpu()
            every = math.ceil(max(int(moves.sum()), 1) / self.most)  # memory is bounded whatever the cases
            kept.append(logits[:, moves][:, ::every].cpu())
            weights.append(torch.full((kept[-1].shape[1],), float(moves.sum()) / max(kept[-1].shape[1], 1)))
        return Reading(predicted, true, decided, torch.cat(kept, 1), torch.cat(weights).double(), scores.compute())


def balance(found: Reading) -> Tensor:
    """Biases `[C - 1]`, with which as many voxels have each structure's logit as their largest as are true of it.

    One structure after another takes the voxels that are nearest to it, as many as it lacks, until none changes; those
    that no label holds are left alone. None is larger than `LARGEST`.
    """
    bias = torch.zeros(len(found.true), dtype=torch.float64)
    if not found.open.shape[1]:
        return bias[1:].float()
    for _ in range(_SWEEPS):
        last = bias.clone()
        for c in [c for c, volume in enumerate(found.true.tolist()) if c and volume]:
            moved = found.open + bias[:, None]
            own = found.open[c]
            moved[c] = -torch.inf
            needed, order = (moved.amax(0) - own).sort()
            taken = found.weights[order].cumsum(0)
            lacking = found.true[c] - found.decided[c]
            place = int(torch.searchsorted(taken, lacking, right=True))  # so many of them become its own
            ends = needed[max(place - 1, 0)], needed[min(place, len(needed) - 1)]
            bias[c] = ((ends[0] + ends[1]) / 2).clamp(-LARGEST, LARGEST)
        if (bias - last).abs().max() < 1e-4:
            break
    return bias[1:].float()
