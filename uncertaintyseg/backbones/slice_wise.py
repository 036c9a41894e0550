"""Networks of two dimensions as networks of three that see each slice alone."""

from __future__ import annotations

from torch import Tensor, nn


class SliceWise(nn.Module):
    """Runs a 2D network on every slice along the last axis: an image is one slice, the frames of a clip are many.

    The third axis is folded into the batch and back, so that what follows, a head of 1x1x1 convolutions included, need
    not know of it. In evaluation mode, and with any normalisation but that of batches, the answer of a slice is that of
    the slice alone.

    Args:
        network: `[B, channels, H, W]` to `[B, F, H, W]`, or to a list or tuple of such.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Image `[B, channels, H, W, D]` to what the network says of it, `[B, F, H, W, D]`."""
        found, batch = self.network(as_slices(image)), image.shape[0]
        return (
            [as_volumes(part, batch) for part in found] if isinstance(found, list | tuple) else as_volumes(found, batch)
        )


def as_slices(volumes: Tensor) -> Tensor:
    """Volumes `[B, C, H, W, D]` as a batch of slices `[B * D, C, H, W]`."""
    return volumes.movedim(-1, 1).flatten(0, 1)


def as_volumes(slices: Tensor, batch: int) -> Tensor:
    """A batch of slices `[B * D, C, H, W]` as volumes `[B, C, H, W, D]`."""
    return slices.unflatten(0, (batch, -1)).movedim(1, -1)
