"""UniverSeg: what to segment is shown by examples, not learnt (Butoi et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_SLOPE = 0.01
"""Of the leaky ReLU."""


class CrossBlock(nn.Module):
    """A convolution of the target with each example, then one of each by itself (equations 3 to 5 of the paper).

    The pair of a target x and an example y_i becomes z_i = W * [x, y_i] + b; the target goes on with the mean of the
    z_i, example i with z_i, both through a convolution of their own and a leaky ReLU. As W is linear,
    z_i = W_x * x + W_y * y_i + b: the target is convolved once, not once for each example, and their mean is
    W_x * x + W_y * mean(y_i) + b. The examples are not independent of the target: from the first z_i on they carry it.

    Args:
        channels: of the target and of an example that come in.
        features: that go out.
    """

    def __init__(self, channels: tuple[int, int], features: int) -> None:
        super().__init__()
        self.own = channels[0]
        # the names are those of the published weights
        self.cross = nn.ModuleDict({"cross_conv": nn.Conv2d(sum(channels), features, 3, padding=1)})
        self.target = nn.ModuleDict({"vmapped": nn.ModuleDict({"conv": nn.Conv2d(features, features, 3, padding=1)})})
        self.support = nn.ModuleDict({"vmapped": nn.ModuleDict({"conv": nn.Conv2d(features, features, 3, padding=1)})})

    def forward(self, target: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
        """Target `[B, C, H, W]` and examples `[B, S, D, H, W]` to `[B, F, H, W]` and `[B, S, F, H, W]`."""
        mine, theirs = self._of_target(target), self._of_support(support.flatten(0, 1))
        theirs = theirs.unflatten(0, support.shape[:2])
        pairs = (mine[:, None] + theirs).flatten(0, 1)
        answered = _activated(self.support["vmapped"]["conv"](pairs)).unflatten(0, support.shape[:2])
        return self._answer(mine + theirs.mean(1)), answered

    def last(self, target: Tensor, support: Tensor) -> Tensor:
        """What the target becomes, `[B, F, H, W]`, where nothing comes after: the mean of the examples is enough.

        Args:
            target: `[B, C, H, W]`.
            support: mean of the examples `[B, D, H, W]`.
        """
        return self._answer(self._of_target(target) + self._of_support(support))

    def _of_target(self, target: Tensor) -> Tensor:
        conv = self.cross["cross_conv"]
        return F.conv2d(target, conv.weight[:, : self.own], conv.bias, padding=1)

    def _of_support(self, support: Tensor) -> Tensor:
        return F.conv2d(support, self.cross["cross_conv"].weight[:, self.own :], padding=1)

    def _answer(self, mean: Tensor) -> Tensor:
        return _activated(self.target["vmapped"]["conv"](mean))


class UniverSeg(nn.Module):
    """A U-Net of cross blocks; names and shapes of its tensors, and what it answers, are those of the public code.

    Args:
        features: of the levels, the finest first; the published network has (64, 64, 64, 64).
    """

    def __init__(self, features: Sequence[int] = (64, 64, 64, 64)) -> None:
        super().__init__()
        self.features = tuple(features)
        before = [(1, 2), *((width, width) for width in self.features[:-1])]
        self.enc_blocks = nn.ModuleList(CrossBlock(c, f) for c, f in zip(before, self.features, strict=True))
        joined = zip(self.features[:0:-1], self.features[-2::-1], strict=True)
        self.dec_blocks = nn.ModuleList(CrossBlock((low + skip,) * 2, skip) for low, skip in joined)
        self.out_conv = nn.ModuleDict({"conv": nn.Conv2d(self.features[0], 1, 1)})
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=_SLOPE)
                nn.init.zeros_(module.bias)

    @property
    def divisor(self) -> int:
        """Height and width must be multiples of this."""
        return 2 ** (len(self.features) - 1)

    def forward(self, target: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The logit of the structure that the examples show; shapes as of `read`, and the answer `[B, 1, H, W]`."""
        return self.out_conv["conv"](self.read(target, images, labels))

    def read(self, target: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The features that enter the output layer.

        Args:
            target: images `[B, 1, H, W]`, in 0..1.
            images: of the examples `[B, S, 1, H, W]`, in 0..1.
            labels: of the structure in the examples `[B, S, 1, H, W]`, 0 or 1.

        Returns:
            `[B, features[0], H, W]`.
        """
        support = torch.cat([images, labels], 2)
        skips: list[tuple[Tensor, Tensor]] = []
        for level, block in enumerate(self.enc_blocks):
            target, support = block(target, support)
            if level == len(self.enc_blocks) - 1:
                break
            # the finest level meets the examples again only in their mean
            skips.append((target, support if level else support.mean(1)))
            target, support = (
                F.max_pool2d(target, 2),
                F.max_pool2d(support.flatten(0, 1), 2).unflatten(0, support.shape[:2]),
            )
        *inner, last = self.dec_blocks
        for block in inner:
            own, others = skips.pop()
            finer = _finer(support.flatten(0, 1)).unflatten(0, support.shape[:2])
            target, support = block(torch.cat([_finer(target), own], 1), torch.cat([finer, others], 2))
        own, others = skips.pop()
        return last.last(torch.cat([_finer(target), own], 1), torch.cat([_finer(support.mean(1)), others], 1))


def _activated(features: Tensor) -> Tensor:
    return F.leaky_relu(features, _SLOPE)


def _finer(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)
