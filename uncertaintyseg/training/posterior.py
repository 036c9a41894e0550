"""What is fitted, not trained, after training: posteriors and temperatures, on the features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import product

import torch
from monai.data import DataLoader, Dataset
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.stream import WindowLayout
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.held_cases import unwrapped
from uncertaintyseg.training.loading import NO_STRUCTURES, as_tensors

Volumes = Collection[tuple[Tensor, Tensor]]
"""Images `[1, channels, *spatial]` and class indices or `IGNORED` `[1, 1, *spatial]`; may be read again."""
Progress = Callable[[str, float], None]


class LabelledVolumes:
    """The cases of a data set as plain tensors on a device, one after another, as often as asked."""

    def __init__(self, cases: Dataset, device: torch.device) -> None:
        self.loader, self.device = DataLoader(cases, num_workers=0), device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        with unwrapped():
            for batch in self.loader:
                yield as_tensors(batch, self.device)


class WindowedFeatures:
    """The features of volumes, window by window as inference sees them, each voxel once.

    Iterating gives features `[1, F, *part]` and class indices `[1, *part]`; it starts anew every time, so that a head
    may read the stream more than once and no volume's features are held as a whole. Voxels marked as not labelled are
    left out, or where the head reads voxels together, stay `IGNORED`. A head that wants whole windows gets such; in
    these, what was in a window before is `IGNORED`.

    Args:
        network: whose features.
        volumes: images and labels.
        layout: of the model's windows; here they do not overlap more than they must.
        report: called after each window.
        below: not the features, but what enters the tail of the backbone that the head has a posterior of, in whole
            windows.
    """

    def __init__(
        self,
        network: Segmenter,
        volumes: Volumes,
        layout: WindowLayout,
        report: Callable[[], None],
        *,
        below: bool = False,
    ) -> None:
        self.network, self.volumes, self.report, self.below = network, volumes, report, below
        self.layout = replace(layout, overlap=0.0)
        self.has_structures: bool | None = None  # nothing was read yet

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        with torch.no_grad():
            for image, label in self.volumes:
                self.has_structures = bool(self.has_structures or (label > 0).any())
                yield from self._parts(image, label)
                self.report()

    def _parts(self, image: Tensor, label: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        plan = self.layout.over(image.shape[2:], self.network.divisor)
        axes = zip(plan.starts, plan.window, plan.before, plan.shape, strict=True)
        for pieces in product(*(list(_pieces(*axis)) for axis in axes)):
            corner, kept, where = zip(*pieces, strict=True)
            target = label[(slice(None), 0, *where)]
            known = target[0] != IGNORED
            if not known.any():
                continue
            features = self._read(plan.patch(image[0], corner))
            if self.below or self.network.head.whole_windows:
                whole = target.new_full((1, *features.shape[2:]), IGNORED)
                whole[(slice(None), *kept)] = target
                yield features.float(), whole
                continue
            features = features[(..., *kept)].float()
            if self.network.head.voxelwise and not known.all():
                features, target = features[:, :, known][..., None, None], target[:, known][..., None, None]
            yield features, target

    def _read(self, patch: Tensor) -> Tensor:
        if self.below:
            return self.network.backbone.above(self.network.head.tail, patch)[1]
        return self.network.extract(patch)[0]


def _pieces(starts: Sequence[int], window: int, before: int, size: int) -> Iterator[tuple[int, slice, slice]]:
    """Windows along one axis: where each begins in the padded image, its new voxels in itself, those in the image."""
    done = 0
    for start in starts:
        last = min(start + window - before, size)
        yield start, slice(done + before - start, last + before - start), slice(done, last)
        done = last


def fit_posterior(
    network: Segmenter,
    training: Volumes,
    validation: Volumes,
    layout: WindowLayout,
    progress: Progress = lambda stage, fraction: None,
) -> dict[str, float]:
    """Fit a network's head to the features of its frozen backbone; the network is in evaluation mode afterwards.

    Args:
        network: whose head is `fitted`, or `completed` after training.
        training: labelled volumes on the network's device.
        validation: labelled volumes that choose what the training set cannot.
        layout: of the windows that the model reads volumes in.
        progress: called with a line of text and the fraction done.

    Returns:
        The head's own report.

    Raises:
        InputError: for features that are not finite, a singular posterior, or training labels without a structure.
    """
    network.eval()
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        progress(
            f"fitting {network.head.name}, {done} volumes read", min(done / (len(training) + len(validation)), 1.0)
        )

    streams = [WindowedFeatures(network, volumes, layout, report) for volumes in (training, validation)]
    tail = network.head.tail is not None
    below = WindowedFeatures(network, training, layout, lambda: None, below=True) if tail else None
    found = network.head.fit(*streams, below)
    if not next(stream.has_structures for stream in streams if stream.has_structures is not None):
        raise InputError(NO_STRUCTURES)
    return found
