"""What is fitted, not trained, after training: posteriors and temperatures, on the features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import product

import torch
from monai.data import DataLoader, Dataset
from torch import Tensor

from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.loading import as_tensors

Volumes = Collection[tuple[Tensor, Tensor]]
"""Images `[1, channels, *spatial]` and class indices `[1, 1, *spatial]`; may be read again."""
Progress = Callable[[str, float], None]


class LabelledVolumes:
    """The cases of a data set as plain tensors on a device, one after another, as often as asked."""

    def __init__(self, cases: Dataset, device: torch.device) -> None:
        self.loader, self.device = DataLoader(cases, num_workers=0), device

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return (as_tensors(batch, self.device) for batch in self.loader)


class WindowedFeatures:
    """The features of volumes, window by window as inference sees them, each voxel once.

    Iterating gives features `[1, F, *part]` and class indices `[1, *part]`; it starts anew every time, so that a head
    may read the stream more than once and no volume's features are held as a whole.

    Args:
        network: whose features.
        volumes: images and labels.
        inferer: knows the size of the windows.
        report: called after each window.
    """

    def __init__(
        self, network: Segmenter, volumes: Volumes, inferer: MomentsInferer, report: Callable[[], None]
    ) -> None:
        self.network, self.volumes, self.inferer, self.report = network, volumes, inferer, report

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        with torch.no_grad():
            for image, label in self.volumes:
                yield from self._parts(image, label)
                self.report()

    def _parts(self, image: Tensor, label: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        window = self.inferer.fitting(image.shape[2:], self.network.divisor)
        missing = [max(side - size, 0) for side, size in zip(window, image.shape[2:], strict=True)]
        before = [side // 2 for side in missing]
        both = [n for b, m in zip(reversed(before), reversed(missing), strict=True) for n in (b, m - b)]
        padded = torch.nn.functional.pad(image, both, mode="replicate")
        axes = zip(padded.shape[2:], window, before, image.shape[2:], strict=True)
        for pieces in product(*(list(_pieces(*axis)) for axis in axes)):
            read, kept, where = zip(*pieces, strict=True)
            features, _ = self.network.extract(padded[(..., *read)])
            yield features[(..., *kept)].float(), label[(slice(None), 0, *where)]


def _pieces(padded: int, window: int, before: int, size: int) -> Iterator[tuple[slice, slice, slice]]:
    """Windows along one axis: where each lies in the padded image, its new voxels in itself, and those in the image."""
    done = 0
    while done < size:
        start = min(done + before, padded - window)
        first = done + before - start
        last = min(start + window - before, size)
        yield slice(start, start + window), slice(first, first + last - done), slice(done, last)
        done = last


def fit_posterior(
    network: Segmenter,
    training: Volumes,
    validation: Volumes,
    inferer: MomentsInferer,
    progress: Progress = lambda stage, fraction: None,
) -> dict[str, float]:
    """Fit a network's head to the features of its frozen backbone; the network is in evaluation mode afterwards.

    Args:
        network: whose head is `fitted`.
        training: labelled volumes on the network's device.
        validation: labelled volumes that choose what the training set cannot.
        inferer: knows the windows that the model reads volumes in.
        progress: called with a line of text and the fraction done.

    Returns:
        The head's own report.

    Raises:
        InputError: for features that are not finite, or a singular posterior.
    """
    network.eval()
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        progress(
            f"fitting {network.head.name}, {done} volumes read", min(done / (len(training) + len(validation)), 1.0)
        )

    streams = (WindowedFeatures(network, volumes, inferer, report) for volumes in (training, validation))
    return network.head.fit(*streams)
