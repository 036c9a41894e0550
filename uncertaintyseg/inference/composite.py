"""One segmentation out of several networks that each know some of its structures, as TotalSegmentator's `total` is.

Parts are merged in order and a later one wins, so class c of part k is there where part k says c and every later part
says background. With parts that err independently of each other

    p(c) = p_k(c) * product over j > k of p_j(background),

which sums to 1 over all structures and the background, the product over all parts. Its entropy follows by the chain
rule, H = sum over k of H(p_k) * product over j > k of p_j(background), and so do expected entropy, with means in place
of values, and E[p^2], with means of squares. Parts are therefore taken last to first, with one running product, and
there never is an array of all classes (docs/adr/0014).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.inference.stream.boxes import StructureBoxes
from uncertaintyseg.inference.stream.gatherer import CUT, Gathered
from uncertaintyseg.inference.stream.grid import Chunk
from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.volumes import BoxVolume
from uncertaintyseg.logits import largest
from uncertaintyseg.measures import MEASURES


@dataclass
class Joint:
    """What is known of some voxels `[*]` of the parts that were taken so far, the last first.

    Attributes:
        background: product of p_j(background).
        background_squared: product of E[p_j(background)^2].
        entropy: of the classes so far, nats.
        expected_entropy: likewise.
        squares: sum over the structures so far of E[p^2].
        squared: sum over the structures so far of E[p]^2.
        first: probability of the likeliest structure so far.
        second: and of the next.
        structure: id of the likeliest.
        label: id of the structure that the merge takes; 0 so far.
        chosen: probability of the latter.
    """

    background: Tensor
    background_squared: Tensor
    entropy: Tensor
    expected_entropy: Tensor
    squares: Tensor
    squared: Tensor
    first: Tensor
    second: Tensor
    structure: Tensor
    label: Tensor
    chosen: Tensor

    def take(self, probability: Tensor, maps: Mapping[str, Tensor], ids: Tensor) -> tuple[Tensor, Tensor]:
        """Add the part before those taken so far, in place.

        Args:
            probability: E[p_k] `[C, *]`, the background first.
            maps: of the part: `predictive_entropy`, `expected_entropy`, `variance` (half the sum over its classes) and
                `variance_0` of its background, each `[*]`.
            ids: uint8 `[C]`, what its classes are called in the whole; 0 for the background.

        Returns:
            E[p] `[C - 1, *]` of its structures in the whole, and the factor that brings E[p_k^2] there, `[*]`.
        """
        own, before = probability[0], self.background.clone()
        factor = self.background_squared.clone()
        own_squared = maps["variance_0"] + own.square()
        powers = probability.square().sum(0)
        self.entropy += before * maps["predictive_entropy"]
        self.expected_entropy += before * maps["expected_entropy"]
        self.squares += factor * (2 * maps["variance"] + powers - own_squared)
        self.squared += before.square() * (powers - own.square())
        best, index = largest(probability[1:])
        index = index.long() + 1
        voted = (best > own) & (self.label == 0)
        self.label.copy_(torch.where(voted, ids[index], self.label))
        self.chosen.copy_(torch.where(voted, best * before, self.chosen))
        whole = probability[1:] * before
        for p, number in zip(whole, ids[1:], strict=True):
            self._rank(p, number)
        self.background *= own
        self.background_squared *= own_squared
        return whole, factor

    def _rank(self, p: Tensor, number: Tensor) -> None:
        """Take a structure into account for the likeliest two."""
        better = p > self.first
        torch.maximum(self.second, torch.minimum(p, self.first), out=self.second)
        torch.maximum(self.first, p, out=self.first)
        self.structure.masked_fill_(better, int(number))

    def maps(self) -> dict[str, Tensor]:
        """The maps of the whole, once all parts are taken: `measures.MEASURES`, each `[*]`."""
        chosen = torch.where(self.label == 0, self.background, self.chosen)
        second = torch.maximum(self.second, torch.minimum(self.background, self.first))
        margin = torch.maximum(self.first, self.background) - second
        spread = self.squares + self.background_squared - self.squared - self.background.square()
        return {
            "variance": spread.clamp_min(0) / 2,
            "predictive_entropy": self.entropy.clone(),
            "expected_entropy": torch.minimum(self.expected_entropy, self.entropy),
            "mutual_information": (self.entropy - self.expected_entropy).clamp_min(0),
            "margin_risk": 1 - margin,
            "error_probability": 1 - chosen,
        }


NAMES = tuple(field.name for field in fields(Joint))
"""Of the fields of `Joint`."""
WHOLE_NUMBERS = ("structure", "label")
"""Those of them that are ids, one byte each."""


def fresh(name: str) -> float:
    """What a field of `Joint` is before any part was taken."""
    return 1.0 if name in ("background", "background_squared") else 0.0


class CompositeGatherer:
    """Keeps of the parts' planes what a prediction is made of, on the scan's grid.

    Args:
        shape: of the scan.
        scratch: for the arrays.
        covered: whether the model sees all of the scan.
        cut: as of `stream.Gatherer`.
    """

    def __init__(self, shape: Sequence[int], scratch: Scratch, *, covered: bool, cut: float) -> None:
        self._shape, self._scratch, self._cut = tuple(shape), scratch, cut
        self._joint = {name: self._zeros(f"joint_{name}", name in WHOLE_NUMBERS) for name in NAMES}
        for name, array in self._joint.items():
            if fresh(name):
                array[:] = fresh(name)
        self._valid = None if covered else self._zeros("valid", False)
        self._boxes: list[tuple[int, StructureBoxes]] = []
        self._finished: dict[str, BoxVolume] = {}

    def begin(self, ids: Sequence[int], wanted: Collection[int], axis: int) -> None:
        """Begin with the part before the last one.

        Args:
            ids: what its structures are called in the whole.
            wanted: ids of the structures whose probabilities are kept.
            axis: of the scan that its planes follow one another along.
        """
        self._finish_boxes()
        self._ids = torch.tensor([0, *ids], dtype=torch.uint8)
        self._order = (axis, *(a for a in range(3) if a != axis))
        self._boxes = [
            (place, StructureBoxes(number, self._shape, self._order, self._scratch, self._cut))
            for place, number in enumerate(ids, start=1)
            if number in wanted
        ]

    def add(self, chunk: Chunk) -> None:
        """Take note of some planes of the part, its `variance_0` among the maps."""
        here = {name: torch.from_numpy(array.transpose(self._order)) for name, array in self._joint.items()}
        where = tuple(chunk.box[a] for a in self._order)
        joint = Joint(**{name: value[where] for name, value in here.items()})
        p, maps = chunk.probability.cpu(), {name: value.cpu() for name, value in chunk.maps.items()}
        whole, factor = joint.take(p, maps, self._ids)
        label = joint.label.numpy()
        for place, boxes in self._boxes:
            own = maps.get(f"variance_{place}")
            if own is not None:
                own = ((own + p[place].square()) * factor - whole[place - 1].square()).clamp_min(0).numpy()
            boxes.add(whole[place - 1].numpy(), label, where, own)
        if self._valid is not None:
            seen = 1.0 if chunk.inside is None else chunk.inside.float().cpu().numpy()
            self._valid.transpose(self._order)[where] = seen

    def finish(self, *, alone: bool) -> Gathered:
        """What was gathered; nothing can be added afterwards.

        Args:
            alone: whether each part gave one answer, so that the variance is 0, and not what rounding leaves.
        """
        self._finish_boxes()
        maps = {name: self._zeros(name, False) for name in MEASURES}
        alternative = self._zeros("alternative", True)
        for plane in range(self._shape[0]):
            joint = Joint(**{name: torch.from_numpy(array[plane]) for name, array in self._joint.items()})
            for name, value in joint.maps().items():
                if not (alone and name == "variance"):
                    maps[name][plane] = value.numpy()
            possible = (joint.label == 0) & (joint.first >= CUT)
            alternative[plane] = torch.where(possible, joint.structure, 0).numpy()
        if self._valid is not None and not self._valid.all():
            maps["valid"] = self._valid
        return Gathered(self._joint["label"], maps, self._finished, alternative)

    def _finish_boxes(self) -> None:
        for _, boxes in self._boxes:
            self._finished |= boxes.finish()
        self._boxes = []

    def _zeros(self, name: str, whole_numbers: bool) -> np.ndarray:
        return self._scratch.zeros(name, self._shape, np.uint8 if whole_numbers else np.float32)
