"""What is kept of the planes that go by: the label, the maps, and of each structure a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.stream.boxes import StructureBoxes
from uncertaintyseg.inference.stream.grid import Chunk
from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.thresholding import Found, Threshold
from uncertaintyseg.inference.volumes import BoxVolume
from uncertaintyseg.logits import largest

CUT = 1 / 65535
"""Probabilities below one step of what they are stored in; where boxes are worth it, they count as 0."""
MOST_STRUCTURES = 255
"""A label is uint8."""


class Gathered(NamedTuple):
    """What a prediction is made of, on the scan's grid.

    Attributes:
        label: class ids, uint8 `[*S]`.
        maps: scalar maps float32 `[*S]` by name; `valid` where the model did not see all of the scan.
        boxes: `probability_<id>` and `variance_<id>`.
        alternative: of each voxel labelled background the likeliest structure, uint8 `[*S]`; 0 where none reaches
            `CUT`.
        cut: the threshold that the label was cut by.
    """

    label: np.ndarray
    maps: dict[str, np.ndarray]
    boxes: dict[str, BoxVolume]
    alternative: np.ndarray
    cut: Found | None = None


class Gatherer:
    """Keeps of chunks what a prediction is made of.

    Args:
        shape: of the scan.
        axis: that the chunks' planes follow one another along.
        structures: ids of the structures whose probabilities are kept.
        scratch: for the arrays.
        covered: whether the model saw all of the scan.
        cut: probabilities below it are left out of the boxes of structures, unless the label is theirs; 0 keeps all.
        label_by: how the label is cut from a probability (`inference.thresholding`); None: the likeliest class.
        cut_of: id of the structure whose probability that is, which is where it exceeds the threshold while elsewhere
            the likeliest other class is; 0: of all structures together, the likeliest of them being there.
    """

    def __init__(
        self,
        shape: Sequence[int],
        axis: int,
        structures: Sequence[int],
        scratch: Scratch,
        *,
        covered: bool = False,
        cut: float = CUT,
        label_by: Threshold | None = None,
        cut_of: int = 0,
    ) -> None:
        self.order = (axis, *(a for a in range(3) if a != axis))
        self.covered, self.label_by, self.cut_of, self._scratch = covered, label_by, cut_of, scratch
        self._shape = tuple(shape[a] for a in self.order)
        self._arrays: dict[str, np.ndarray] = {}
        self._boxes = [StructureBoxes(c, shape, self.order, scratch, cut) for c in structures]

    def add(self, chunk: Chunk) -> None:
        """Take note of some planes.

        Raises:
            BundleError: for more structures than a label can name.
        """
        p = chunk.probability
        if len(p) - 1 > MOST_STRUCTURES:
            raise BundleError(f"a label names {MOST_STRUCTURES} structures at most; this model has {len(p) - 1}.")
        best, structure = largest(p[1:])
        structure += 1
        label = torch.where(best > p[0], structure, 0) if chunk.label is None else chunk.label
        found = {name: value for name, value in chunk.maps.items() if not name.startswith("variance_")}
        if self.label_by and self.cut_of:
            others = p.clone()
            others[self.cut_of] = -1
            likeliest, other = largest(others)
            found |= {"foreground": p[self.cut_of], "rest": 1 - likeliest, "structure": other}
        elif self.label_by:
            found |= {"foreground": 1 - p[0], "rest": 1 - best, "structure": structure}
        elif chunk.label is None:
            found["error_probability"] = 1 - torch.maximum(best, p[0])
        else:
            found["error_probability"] = 1 - p.gather(0, label.long()[None])[0]
        if not self.covered:
            found["valid"] = torch.ones_like(best) if chunk.inside is None else chunk.inside.float()
        where = tuple(chunk.box[a] for a in self.order)
        found |= {"label": label.byte(), "alternative": torch.where(best >= CUT, structure, 0)}
        for name, value in found.items():
            if name not in self._arrays:
                self._arrays[name] = self._zeros(name, np.uint8 if value.dtype == torch.uint8 else np.float32)
            self._arrays[name][where] = value.cpu().numpy()
        whole, named = p.cpu().numpy(), label.cpu().numpy()
        for boxes in self._boxes:
            own = chunk.maps.get(f"variance_{boxes.structure}")
            boxes.add(whole[boxes.structure], named, where, None if own is None else own.cpu().numpy())

    def finish(self) -> Gathered:
        """What was gathered; nothing can be added afterwards."""
        found = dict(self._arrays)
        label, alternative, cut = found.pop("label"), found.pop("alternative"), None
        if self.label_by:
            foreground, rest, structure = (found.pop(name) for name in ("foreground", "rest", "structure"))
            seen = found.get("valid")
            partly = seen is not None and not seen.all()
            cut = self.label_by.find(foreground[seen > 0] if partly else foreground)
            error = self._zeros("error_probability", np.float32)
            for plane in range(len(label)):
                chosen = foreground[plane] > cut.value
                if self.cut_of:
                    label[plane] = np.where(chosen, self.cut_of, structure[plane])
                    error[plane] = np.where(chosen, 1 - foreground[plane], rest[plane])
                else:
                    label[plane] = np.where(chosen, structure[plane], 0)
                    error[plane] = np.where(chosen, rest[plane], foreground[plane])
            found["error_probability"] = error
        for plane in range(len(label)):
            alternative[plane][label[plane] > 0] = 0
        if "valid" in found and found["valid"].all():
            del found["valid"]
        boxes = {name: volume for part in self._boxes for name, volume in part.finish().items()}
        turned = {name: self._turned(value) for name, value in found.items()}
        return Gathered(self._turned(label), turned, boxes, self._turned(alternative), cut)

    def _zeros(self, name: str, dtype: type) -> np.ndarray:
        return self._scratch.zeros(name, self._shape, dtype)

    def _turned(self, array: np.ndarray) -> np.ndarray:
        return array.transpose(np.argsort(self.order))
