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
        found = self.network(image.movedim(-1, 1).flatten(0, 1))
        several = isinstance(found, list | tuple)
        unfolded = [part.unflatten(0, (image.shape[0], -1)).movedim(1, -1) for part in (found if several else [found])]
        return unfolded if several else unfolded[0]
