"""What is kept of an inference so that whole shapes can be drawn, and corrected, without running the network again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from uncertaintyseg.data.geometry import resample
from uncertaintyseg.heads import Head
from uncertaintyseg.logits import most_likely
from uncertaintyseg.metrics.arrays import check_shapes

MARGIN = 8
"""Voxels kept around the foreground: a plausible shape may reach so far beyond it."""
POSSIBLE = 0.05
"""Foreground probability from which a voxel counts as possible foreground."""


@dataclass(frozen=True)
class InferenceState:
    """Features of the foreground region; the head turns them back into its distribution.

    Attributes:
        features: float16 `[F, *region]`, in memory or memory-mapped.
        region: where it lies in the model's grid.
        affine: of the model's grid, 4x4, voxel to RAS+ mm.

    Raises:
        InputError: for features that are not those of the region.
    """

    features: np.ndarray
    region: tuple[slice, slice, slice]
    affine: np.ndarray

    def __post_init__(self) -> None:
        check_shapes("a feature", self.features.shape[1:], [part.stop - part.start for part in self.region])

    @classmethod
    def around_foreground(
        cls, features: np.ndarray, possible: np.ndarray, affine: ArrayLike, within: Sequence[slice] | None = None
    ) -> InferenceState | None:
        """Cut the region out of features; None without foreground.

        Args:
            features: float16 `[F, *spatial]`.
            possible: where the foreground probability exceeds `POSSIBLE`, bool `[*spatial]`.
            affine: of their grid, 4x4.
            within: a box that the region stays in; None: the grid.
        """
        within = [slice(0, size) for size in possible.shape] if within is None else within
        possible = possible[tuple(within)]
        if not possible.any():
            return None
        region = []
        for axis, (size, part) in enumerate(zip(possible.shape, within, strict=True)):
            hit = np.flatnonzero(possible.any(axis=tuple(a for a in range(3) if a != axis)))
            low, high = max(int(hit[0]) - MARGIN, 0), min(int(hit[-1]) + 1 + MARGIN, size)
            region.append(slice(part.start + low, part.start + high))
        cut = np.ascontiguousarray(features[(slice(None), *region)])
        return cls(cut, tuple(region), np.asarray(affine, dtype=np.float64))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write to a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "features.npy", self.features)
        np.save(folder / "region.npy", np.array([(part.start, part.stop) for part in self.region]))
        np.save(folder / "affine.npy", self.affine)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> InferenceState:
        """Open what `save` wrote; the features stay on disk until they are used."""
        region, affine = (np.load(Path(folder) / f"{name}.npy", allow_pickle=False) for name in ("region", "affine"))
        features = np.load(Path(folder) / "features.npy", mmap_mode="r", allow_pickle=False)
        return cls(features, tuple(slice(int(a), int(b)) for a, b in region), affine)

    @torch.inference_mode()  # as a decorator it is off while the caller works on a draw
    def labels(
        self, head: Head, count: int, generator: torch.Generator, paths: Sequence[str | None] = (None,)
    ) -> Iterator[Tensor]:
        """Draw whole segmentations `[*region]` (class indices) on the region.

        Of several paths of the head, None being its own distribution, come as many each, the first ones of the first. A
        path that looks beyond single voxels sees the region and nothing around it.
        """
        features = torch.from_numpy(np.asarray(self.features, dtype=np.float32)).to(generator.device)[None]
        output = head(features)
        for number, path in enumerate(paths):
            drawn = output.distribution if path is None else output.paths[path]
            for logits in drawn.sample(len(range(number, count, len(paths))), generator):
                yield most_likely(logits[0])

    def labels_on(
        self,
        affine: ArrayLike,
        shape: Sequence[int],
        head: Head,
        count: int,
        generator: torch.Generator,
        paths: Sequence[str | None] = (None,),
    ) -> Iterator[np.ndarray]:
        """Draw whole segmentations on another grid, such as the scan's; they take the memory of one.

        Args:
            affine: of that grid, 4x4.
            shape: of that grid.
            head: of the network that the features came from.
            count: how many.
            generator: of the draws, the same as those of `labels`.
            paths: as of `labels`.

        Returns:
            uint8 `[*shape]` each: the class of the nearest voxel, and background outside the region.
        """
        grid = np.asarray(affine, dtype=np.float64)
        box = self.box_on(grid, shape)
        size = tuple(part.stop - part.start for part in box)
        for label in self.labels(head, count, generator, paths):
            whole = np.zeros(shape, np.uint8)
            part = resample(label[None].to(torch.uint8), self.region_affine, affine_of(box, grid), size, nearest=True)
            whole[box] = part[0].cpu().numpy()
            yield whole

    def label_here(self, label: np.ndarray, affine: ArrayLike) -> Tensor:
        """A label `[*S]` on a grid with this affine at the region's voxels, the nearest each; uint8 `[*region]`."""
        grid = np.asarray(affine, dtype=np.float64)
        box = self.box_on(grid, label.shape)
        values = torch.from_numpy(np.ascontiguousarray(label[box], dtype=np.uint8))[None]
        return resample(values, affine_of(box, grid), self.region_affine, self.features.shape[1:], nearest=True)[0]

    @property
    def region_affine(self) -> np.ndarray:
        """The affine of the region, 4x4."""
        return affine_of(self.region, self.affine)

    def box_on(self, grid: np.ndarray, shape: Sequence[int]) -> tuple[slice, ...]:
        """The part of another grid, given by its affine and shape, that the region can reach."""
        ends = [(part.start - 0.5, part.stop - 0.5) for part in self.region]
        corners = np.stack(np.meshgrid(*ends, [1.0], indexing="ij")).reshape(4, -1)
        reach = (np.linalg.inv(grid) @ self.affine @ corners)[:3]
        low = np.clip(np.floor(reach.min(1)), 0, shape).astype(int)
        high = np.clip(np.ceil(reach.max(1)) + 1, low, shape).astype(int)
        return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def affine_of(box: Sequence[slice], affine: np.ndarray) -> np.ndarray:
    """The affine of a box of a grid."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    return moved
