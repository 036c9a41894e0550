"""The loss of a fit on the validation cases, by the windows of inference: what stops SegWithU (METHODS 7.4)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from monai.data import CacheDataset
from torch import Tensor
from torch.nn import functional

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.inference.stream import WindowLayout
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.objectives import HeadLoss

_SEED = 0


def held_out_loss(
    network: Segmenter, loss: HeadLoss, layout: WindowLayout, cases: CacheDataset, device: str | torch.device
) -> float:
    """Mean over cases of the mean over their windows; windows without a labelled voxel do not count.

    The network is in evaluation mode and no gradient is taken. Draws are the same at every call, and leave those of the
    training as they were.

    Args:
        network: it is left in evaluation mode.
        loss: of its head's output, all terms.
        layout: of the windows.
        cases: "image" `[channels, *S]` and "label" `[1, *S]` each.
        device: of the network.
    """
    network.eval()
    found, before = [], loss.generator.get_state()
    loss.generator.manual_seed(_SEED)
    network.head.training = True  # itself alone, so that it brings its penalties or its own loss
    try:
        with torch.no_grad():
            for case in cases:
                windows = [
                    loss(network(image), label).item()
                    for image, label in _windows(case, layout, network, device)
                    if (label != IGNORED).any()
                ]
                found += [sum(windows) / len(windows)] if windows else []
    finally:
        network.head.training = False
        loss.generator.set_state(before)
    return sum(found) / len(found) if found else float("nan")


def _windows(
    case: dict[str, Tensor], layout: WindowLayout, network: Segmenter, device: str | torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    image, label = (torch.as_tensor(case[key]).as_subclass(torch.Tensor).to(device) for key in ("image", "label"))
    plan = layout.over(image.shape[1:], network.divisor)
    pad = []
    for size, side, before in zip(plan.shape, plan.window, plan.before, strict=True):
        pad = [before, max(side - size, 0) - before, *pad]  # the last axis first
    image = functional.pad(image[None].float(), pad, mode="replicate") if any(pad) else image[None].float()
    label = functional.pad(label[None].long(), pad, value=IGNORED)
    for corner in product(*plan.starts):
        where = (..., *(slice(first, first + side) for first, side in zip(corner, plan.window, strict=True)))
        yield image[where], label[where]
