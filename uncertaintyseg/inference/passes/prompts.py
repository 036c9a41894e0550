"""A network that is prompted, with prompts as another person might have drawn them (docs/adr/0022)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor

from uncertaintyseg.backbones.prompted import marks_of, prompt_of, prompted
from uncertaintyseg.backbones.sam import Prompt
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.base import Passes
from uncertaintyseg.inference.passes.ranges import PASSES, SEED, Range, check_ranges
from uncertaintyseg.logits import LogitDistribution
from uncertaintyseg.segmenter import Network


class PromptJitter(Passes):
    """Each pass gets another box: its four sides are moved, each by itself, by up to a share of the box's own size.

    Points are moved by up to `pixels` along each axis. Nothing leaves the slice, which is encoded once for all passes.

    Args:
        network: of a model that is prompted (`backbones.PromptedBackbone`).
        passes: how many.
        jitter: largest shift of a side, as a share of the box's width or height; MedSAM was trained with boxes shifted
            by up to 20 of 1024 pixels (Ma et al. 2024).
        pixels: largest shift of a point.
        seed: of the shifts.

    Raises:
        InputError: for another network, or options out of range.
    """

    name = "prompt_jitter"
    paper = "Ma et al. 2024, MedSAM (boxes of training are shifted so)"
    summary = "the same slices with boxes and points as another person might have drawn them"

    def __init__(
        self,
        network: Network,
        *,
        passes: Annotated[int, Range(1, PASSES)] = 16,
        jitter: Annotated[float, Range(0, 1)] = 0.1,
        pixels: Annotated[int, Range(0, 1000)] = 2,
        seed: Annotated[int, Range(0, SEED)] = 0,
    ) -> None:
        check_ranges(PromptJitter, locals())
        super().__init__(network, passes=passes)
        if prompted(network) is None:
            raise InputError(
                "the method 'prompt_jitter' is for models that are prompted, such as SAM; this one takes no prompts: "
                "use 'tta', 'noise' or 'dropout_injection'."
            )
        self.jitter, self.pixels, self.seed = jitter, pixels, seed

    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        generator = torch.Generator().manual_seed(self.seed)
        marks = image[:, 1:].cpu()
        asked = marks.flatten(2, 3).amax(2).nonzero().tolist()  # [B, K, D]
        for _ in range(self.passes):
            moved = image.clone()
            for batch, structure, depth in asked:
                prompt = self._moved(prompt_of(marks[batch, structure, :, :, depth]), image.shape[2:4], generator)
                drawn = marks_of(prompt, image.shape[2:4])
                moved[batch, 1 + structure, :, :, depth] = drawn.to(image)
            with torch.no_grad():
                distribution = self.network(moved).distribution
            yield distribution

    def _moved(self, prompt: Prompt, shape: torch.Size, generator: torch.Generator) -> Prompt:
        most = torch.tensor(shape) - 1

        def shifted(places: list[list[float]], by: Tensor | int) -> list[list[int]]:
            if not places:
                return []
            steps = (2 * torch.rand((len(places), 2), generator=generator) - 1) * by
            return (torch.tensor(places) + steps).round().long().clamp_min(0).minimum(most).tolist()

        box = prompt.box
        if box is not None:
            corners = torch.tensor(box).reshape(2, 2)
            first, last = shifted(corners.tolist(), self.jitter * (corners[1] - corners[0] + 1))
            box = (*(min(pair) for pair in zip(first, last, strict=True)), *map(max, zip(first, last, strict=True)))
        inside, outside = (shifted(list(places), self.pixels) for places in (prompt.inside, prompt.outside))
        return Prompt(box, inside, outside)
