"""A network that is asked for what it segments: prompts are further channels of the image (docs/adr/0022)."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones.base import Backbone
from uncertaintyseg.backbones.sam import Prompt, Sam, Scaling

BOX, INSIDE, OUTSIDE = 1, 2, 4
"""Bits of a channel of prompts: pixels of the box, of the structure, and of what is none of it."""
NOTHING = -20.0
"""Logit of a structure where nothing asks for it."""
KEPT_BYTES = 2**31
"""Of encoded slices that are kept at most; what is used longest ago goes first."""
_LIVING: WeakSet[PromptedBackbone] = WeakSet()


class PromptedBackbone(Backbone):
    """SAM slice by slice: one binary run for each structure that a slice asks for, their logits side by side.

    A slice `[columns, rows]` is encoded once, however often it is asked about; one that asks for nothing never is.

    Args:
        family: as of `Sam`.
        config: as of `Sam`.
        structures: K.
        scaling: as of `Sam`.
        padded: as of `Sam`.

    Attributes:
        most_kept: bytes of encoded slices that it keeps at most, beside the last one; `KEPT_BYTES` or less.
    """

    divisor = (1, 1, 1)

    def __init__(
        self,
        family: str,
        config: Mapping[str, Any],
        structures: int,
        scaling: Scaling = "imagenet",
        padded: bool | None = None,
    ) -> None:
        super().__init__()
        self.network = Sam(family, config, scaling, padded)
        self.structures = self.features = structures
        self.in_channels = 1 + structures
        self.encoded = 0
        self.most_kept = KEPT_BYTES
        self._kept: OrderedDict[str, list[Tensor]] = OrderedDict()
        _LIVING.add(self)

    @property
    def kept_bytes(self) -> int:
        """What its encoded slices take now."""
        return sum(map(_size, self._kept.values()))

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, 1 + K, columns, rows, D]`, grey in 0..1 and marks of each structure, to logits `[B, K, *]`."""
        found = image.new_full((len(image), self.structures, *image.shape[2:]), NOTHING)
        asked = image[:, 1:].flatten(2, 3).amax(2) > 0  # [B, K, D]
        for batch, depth in asked.any(1).nonzero().tolist():
            picture = image[batch, 0, :, :, depth].T.contiguous()
            encoded = self._encode(picture)
            for structure in asked[batch, :, depth].nonzero().flatten().tolist():
                prompt = prompt_of(image[batch, 1 + structure, :, :, depth])
                found[batch, structure, :, :, depth] = self.network.decode(encoded, prompt, picture.shape).T
        return found

    def layers(self, kinds: tuple[type[nn.Module], ...], *, encoder: bool) -> list[nn.Module]:
        """Modules of some kinds in order: those of the decoder, and of the encoder before them if it is to be one."""
        inside = [part for module in self.network.encoder for part in module.modules()]
        known = set(inside)
        after = [part for part in self.network.modules() if part not in known]
        return [part for part in ([*inside, *after] if encoder else after) if isinstance(part, kinds)]

    def _encode(self, picture: Tensor) -> list[Tensor]:
        if any(part._forward_hooks for module in self.network.encoder for part in module.modules()):  # noqa: SLF001
            self.encoded += 1  # somebody changes what it says
            return self.network.encode(picture)
        key = f"{picture.device} {tuple(picture.shape)} {hashlib.sha256(picture.cpu().numpy()).hexdigest()}"
        if key not in self._kept:
            self.encoded += 1
            self._kept[key] = self.network.encode(picture)
            while len(self._kept) > 1 and self.kept_bytes > self.most_kept:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def prompt_of(marks: Tensor) -> Prompt:
    """What marks `[columns, rows]` on a slice say; several boxes are the one around them."""
    bits = marks.round().to(torch.int64)

    def places(bit: int) -> list[list[int]]:
        return (bits & bit).nonzero().tolist()

    box = (bits & BOX).nonzero()
    corners = (*box.amin(0).tolist(), *box.amax(0).tolist()) if len(box) else None
    return Prompt(corners, places(INSIDE), places(OUTSIDE))


def marks_of(prompt: Prompt, shape: Sequence[int]) -> Tensor:
    """What a prompt is on a slice of `shape` (columns, rows), uint8; the inverse of `prompt_of` for whole pixels."""
    marks = torch.zeros(tuple(shape), dtype=torch.uint8)
    if prompt.box is not None:
        left, top, right, bottom = map(int, prompt.box)
        marks[left : right + 1, top : bottom + 1] |= BOX
    for bit, points in ((INSIDE, prompt.inside), (OUTSIDE, prompt.outside)):
        for column, row in points:
            marks[int(column), int(row)] |= bit
    return marks


def let_go_of_slices() -> None:
    """Free the encoded slices of all networks of this process; who wants them encodes them again."""
    for backbone in list(_LIVING):
        backbone._kept.clear()  # noqa: SLF001
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def prompted(network: Any) -> PromptedBackbone | None:
    """The backbone of a network that is asked for what it segments; None of any other."""
    backbone = getattr(network, "backbone", None)
    return backbone if isinstance(backbone, PromptedBackbone) else None


def picture_channels(network: Any, image: Tensor) -> int:
    """How many channels of an image `[B, channels, *]` are seen, and not prompts."""
    return image.shape[1] if prompted(network) is None else 1


def _size(encoded: list[Tensor]) -> int:
    return sum(part.numel() * part.element_size() for part in encoded)
