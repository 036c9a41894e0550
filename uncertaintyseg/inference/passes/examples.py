"""A network that is shown examples, shown some of them at a time: its own ensemble (docs/adr/0021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor

from uncertaintyseg.backbones import InContextBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.base import Passes
from uncertaintyseg.inference.passes.ranges import PASSES, SEED, Range, check_ranges
from uncertaintyseg.logits import LogitDistribution
from uncertaintyseg.segmenter import Network


class ExampleSubsets(Passes):
    """Each pass is shown a random part of the examples: where the answer hangs on which, it is unsure.

    The parts are drawn without replacement. One in which no slice shows a structure gets, in place of none, the first
    of the others in that order that does.

    Args:
        network: of a model that is shown examples (`backbones.InContextBackbone`).
        passes: how many.
        share: of the examples that a pass is shown, rounded up.
        seed: of the draws.

    Raises:
        InputError: for another network, one with a single example, or options out of range.
    """

    name = "examples"
    paper = "Butoi et al. 2023, UniverSeg (averages over support sets)"
    summary = "each time another part of the examples that the model is shown"

    def __init__(
        self,
        network: Network,
        *,
        passes: Annotated[int, Range(1, PASSES)] = 10,
        share: Annotated[float, Range(0.01, 1)] = 0.5,
        seed: Annotated[int, Range(0, SEED)] = 0,
    ) -> None:
        check_ranges(ExampleSubsets, locals())
        super().__init__(network, passes=passes)
        found = in_context(network)
        if found is None:
            raise InputError(
                "the method 'examples' is for models that are shown examples, such as UniverSeg; this one has learnt "
                "what it knows: use 'tta', 'noise' or 'dropout_injection'."
            )
        if len(found.images) < 2:
            raise InputError("this model is shown a single example, of which there is no part: correct a second slice.")
        self.backbone, self.share, self.seed = found, share, seed

    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        generator = torch.Generator().manual_seed(self.seed)
        images, labels = self.backbone.images, self.backbone.labels
        holds = labels.flatten(2).any(2).cpu()
        for _ in range(self.passes):
            part = self._part(torch.randperm(len(images), generator=generator), holds)
            with self.backbone.shown(images[part], labels[:, part]), torch.no_grad():
                distribution = self.network(image).distribution
            yield distribution

    def _part(self, order: Tensor, holds: Tensor) -> Tensor:
        """The first of a random order; `holds` `[K, S]` says which slice shows which structure."""
        count = -int(-self.share * len(order) // 1)
        chosen = order[:count].tolist()
        for shows in holds:
            if not shows[chosen].any() and shows.any():
                chosen.append(next(place for place in order.tolist() if shows[place]))
        return torch.tensor(chosen)


def in_context(network: Network) -> InContextBackbone | None:
    """The backbone of a network that is shown examples; None of any other."""
    backbone = getattr(network, "backbone", None)
    return backbone if isinstance(backbone, InContextBackbone) else None
