"""Which cases or slices a fit sees how often, and how much each class weighs (METHODS 6)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.transforms import MapTransform, Randomizable
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.errors import InputError


def class_weights(labels: Iterable[Tensor], classes: int) -> list[float]:
    """Weights ~ 1 / frequency of each class, of mean 1; a class that occurs nowhere weighs as if it had one voxel.

    Args:
        labels: class indices, any shapes; `IGNORED` voxels are not counted.
        classes: C, background included.
    """
    counts = torch.zeros(classes, dtype=torch.float64)
    for label in labels:
        values = torch.as_tensor(label).flatten().long()
        counts += torch.bincount(values[values != IGNORED], minlength=classes)
    weights = 1 / counts.clamp_min(1)
    return (weights / weights.mean()).tolist()


def checked_weights(weights: Sequence[float], classes: int, field: str = "class_weights") -> list[float]:
    """The weights themselves, if there is a positive one for every class; `field` of the recipe has them.

    Raises:
        InputError: if not.
    """
    if len(weights) != classes or not all(0 < weight < float("inf") for weight in weights):
        raise InputError(
            f"'recipe.{field}' needs {classes} positive numbers, one a class with the background first, "
            f"not {list(weights)}."
        )
    return list(weights)


class Rarity:
    """How often what holds a rare class is drawn.

    Args:
        labels: the rare classes.
        weight: they are drawn so many times as often as the others.
        classes: C, background included.

    Raises:
        InputError: for a rare class that the model does not have.
    """

    def __init__(self, labels: Sequence[int], weight: float, classes: int) -> None:
        unknown = sorted(set(labels) - set(range(1, classes)))
        if unknown:
            raise InputError(f"'recipe.rare_labels' names class {unknown[0]}; the model's are 1 to {classes - 1}.")
        self.labels, self.weight = torch.tensor(list(labels), dtype=torch.long), weight

    def of_slices(self, label: Tensor) -> Tensor:
        """Weight `[D]` of each slice of `[1, *spatial]` along the last axis; 0 where all of it is `IGNORED`."""
        label = torch.as_tensor(label)
        found, known = (at.flatten(0, -2).any(0) for at in (torch.isin(label, self.labels), label != IGNORED))
        return torch.where(found, self.weight, 1.0).double() * known

    def sampler(self, labels: Sequence[Tensor], *, slices: bool = False) -> WeightedRandomSampler:
        """Draws cases with replacement, as many as there are, from a generator of its own.

        Args:
            labels: class indices `[1, *spatial]` of each case.
            slices: draw as many as there are slices, each case by the sum of its slices' weights; with `RareSliced`,
                which then takes one slice of it, all slices of all cases are drawn as if they lay in one bag.
        """
        count = sum(label.shape[-1] for label in labels) if slices else len(labels)
        return WeightedRandomSampler(self.weights(labels, slices=slices), count, generator=torch.Generator())

    def weights(self, labels: Iterable[Tensor], *, slices: bool = False) -> list[float]:
        """Of each case: the largest of its slices', or their sum."""
        each = (self.of_slices(label) for label in labels)
        return [float(found.sum() if slices else found.max()) for found in each]


class RareSliced(Randomizable, MapTransform):
    """Take one slice `[C, H, W, 1]` along the last axis of image and label, at random by what it holds."""

    def __init__(self, rarity: Rarity) -> None:
        MapTransform.__init__(self, ("image", "label"))
        self.rarity = rarity
        self._slice = 0

    def randomize(self, data: Tensor) -> None:
        """Choose a slice of the label `[1, *spatial]`."""
        weights = self.rarity.of_slices(data).numpy()
        self._slice = int(self.R.choice(len(weights), p=weights / weights.sum()))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        data = dict(data)
        self.randomize(data["label"])
        for key in self.keys:
            data[key] = data[key][..., self._slice : self._slice + 1]
        return data
