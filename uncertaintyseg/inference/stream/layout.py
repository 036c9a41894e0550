"""Where the windows of a volume lie and how much each of their voxels counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from monai.data.utils import compute_importance_map, dense_patch_slices
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle

Kind = Literal["monai", "nnunet", "sliding", "sliding_constant"]
_SIGMA = 1 / 8
"""Standard deviation of the Gaussian that weights a window, in sides of the window."""


def halved(window: Sequence[int], divisor: int | Sequence[int], times: int) -> tuple[int, ...]:
    """Window sizes, halved so many times and kept to sizes that a network with this divisor takes."""
    divisors = [divisor] * len(window) if isinstance(divisor, int) else divisor
    if not times:
        return tuple(window)
    return tuple(max(size // 2**times // d * d, d) for size, d in zip(window, divisors, strict=True))


@dataclass(frozen=True)
class WindowLayout:
    """How a model's windows are laid over volumes.

    Attributes:
        window: size in voxels.
        overlap: of neighbouring windows, 0 to 1 (exclusive).
        kind: "monai": a volume smaller than the window is one window, padded with its border only to what the network
            needs, as padding enters the statistics of instance normalisation; steps and Gaussian are MONAI's. "nnunet":
            as nnU-Net 2 does, with windows of one size, zeros around smaller volumes, even steps, and a Gaussian
            without MONAI's floor; in single precision, where nnU-Net has half. "sliding": all as MONAI's
            `SlidingWindowInferer` does with a Gaussian, so windows of one size and zeros around smaller volumes; in
            "sliding_constant" all voxels of a window count alike.
    """

    window: tuple[int, ...]
    overlap: float = 0.5
    kind: Kind = "monai"

    @classmethod
    def of(cls, bundle: Bundle, divisor: int | Sequence[int], halvings: int = 0) -> WindowLayout:
        """That of a model, with its windows halved so many times.

        Raises:
            BundleError: for a kind that does not exist.
        """
        kind = bundle.config.get("layout") or "monai"
        if kind not in get_args(Kind):
            raise BundleError(f"{bundle.name}: 'layout' is '{kind}'; it must be one of {', '.join(get_args(Kind))}.")
        return cls(halved(bundle.setting("window"), divisor, halvings), float(bundle.setting("overlap")), kind)

    def fitting(self, shape: Sequence[int], divisor: int | Sequence[int]) -> list[int]:
        """The window for a volume."""
        if self.kind != "monai":
            return list(self.window)
        divisors = [divisor] * len(shape) if isinstance(divisor, int) else list(divisor)
        window = [min(size, -(-axis // d) * d) for size, axis, d in zip(self.window, shape, divisors, strict=True)]
        if window == divisors:  # instance normalisation needs two voxels at the lowest level
            axis = max(axis for axis, d in enumerate(divisors) if d > 1 or max(divisors) == 1)
            window[axis] *= 2
        return window

    def over(
        self, shape: Sequence[int], divisor: int | Sequence[int], box: Sequence[slice] | None = None
    ) -> WindowPlan:
        """The windows of a volume of `shape`; with a box of it only those that reach into the box."""
        window = tuple(self.fitting(shape, divisor))
        before = tuple(max(side - size, 0) // 2 for side, size in zip(window, shape, strict=True))
        starts = []
        for axis, (size, side, pad) in enumerate(zip(shape, window, before, strict=True)):
            found = self._starts(max(size, side), side)
            if box is not None:
                first, last = box[axis].start + pad, box[axis].stop + pad
                found = [start for start in found if start < last and start + side > first]
            starts.append(tuple(found))
        return WindowPlan(tuple(shape), window, tuple(starts), before, self.kind)

    def _starts(self, size: int, side: int) -> list[int]:
        if self.kind != "nnunet":
            step = side if size == side else max(int(side * (1 - self.overlap)), 1)
            return [part[0].start for part in dense_patch_slices((size,), (side,), (step,))]
        count = math.ceil((size - side) / (side * (1 - self.overlap)))
        return [int(np.round((size - side) / count * i)) for i in range(count + 1)] if count else [0]


@dataclass(frozen=True)
class WindowPlan:
    """The windows of one volume.

    Attributes:
        shape: of the volume.
        window: size of each.
        starts: where they begin along each axis, in the padded volume, ascending.
        before: padding before the volume along each axis; behind it there is as much as the windows need.
        kind: as of `WindowLayout`.
    """

    shape: tuple[int, ...]
    window: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    before: tuple[int, ...]
    kind: Kind

    def __len__(self) -> int:
        return math.prod(map(len, self.starts))

    @property
    def axis(self) -> int:
        """The axis that windows run along in order: the one with the smallest carry, a window's length of planes."""
        return min(range(len(self.window)), key=lambda axis: self.window[axis] / self.reach[axis])

    @property
    def reach(self) -> tuple[int, ...]:
        """How much of each axis the windows cover, padding included."""
        return tuple(s[-1] + side - s[0] for s, side in zip(self.starts, self.window, strict=True))

    @property
    def covered(self) -> tuple[slice, ...]:
        """The part of the volume that they cover."""
        return tuple(
            slice(max(s[0] - pad, 0), min(s[-1] + side - pad, size))
            for s, side, pad, size in zip(self.starts, self.window, self.before, self.shape, strict=True)
        )

    def corners(self, start: int) -> Iterator[tuple[int, ...]]:
        """Where the windows begin that begin at `start` along the axis in order."""
        return product(*((start,) if a == self.axis else starts for a, starts in enumerate(self.starts)))

    def patch(self, volume: Tensor, corner: Sequence[int]) -> Tensor:
        """A window of `[channels, *shape]`: `[1, channels, *window]`."""
        box, missing = [slice(None)], []
        for start, side, pad, size in zip(corner, self.window, self.before, self.shape, strict=True):
            first, last = max(start - pad, 0), min(start - pad + side, size)
            box.append(slice(first, last))
            missing.append((first - (start - pad), start - pad + side - last))
        patch = volume[tuple(box)][None]
        if not any(map(any, missing)):
            return patch
        mode = "replicate" if self.kind == "monai" else "constant"
        return F.pad(patch, [n for pair in reversed(missing) for n in pair], mode=mode)

    @cached_property
    def weights(self) -> Tensor:
        """How much each voxel of a window counts, `[*window]`, positive."""
        if self.kind == "sliding_constant":
            return torch.ones(self.window)
        if self.kind != "nnunet":
            return compute_importance_map(self.window, mode="gaussian", sigma_scale=_SIGMA)
        gaussian = np.ones((1,) * len(self.window))
        for axis, side in enumerate(self.window):
            centre = np.zeros(side)
            centre[side // 2] = 1
            line = gaussian_filter1d(centre, side * _SIGMA, mode="constant")
            gaussian = gaussian * np.expand_dims(line / line.max(), [a for a in range(len(self.window)) if a != axis])
        weights = torch.from_numpy(gaussian).float()
        return torch.where(weights > 0, weights, weights[weights > 0].min())
