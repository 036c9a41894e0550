"""What is kept of an inference so that whole shapes can be drawn, and corrected, without running the network again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.heads import Head
from uncertaintyseg.logits import most_likely

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
    """

    features: np.ndarray
    region: tuple[slice, slice, slice]

    @classmethod
    def around_foreground(cls, features: Tensor, probability: Tensor) -> InferenceState | None:
        """Cut the region out of features `[1, F, *spatial]`, given E[p] `[1, C, *spatial]`; None without foreground."""
        possible = (1 - probability[0, 0] > POSSIBLE).cpu().numpy()
        if not possible.any():
            return None
        region = []
        for axis, size in enumerate(possible.shape):
            hit = np.flatnonzero(possible.any(axis=tuple(a for a in range(3) if a != axis)))
            region.append(slice(max(int(hit[0]) - MARGIN, 0), min(int(hit[-1]) + 1 + MARGIN, size)))
        cut = features[(0, slice(None), *region)]
        return cls(cut.to(torch.float16).cpu().numpy(), tuple(region))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write to a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "features.npy", self.features)
        np.save(folder / "region.npy", np.array([(part.start, part.stop) for part in self.region]))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> InferenceState:
        """Open what `save` wrote; the features stay on disk until they are used."""
        region = np.load(Path(folder) / "region.npy", allow_pickle=False)
        features = np.load(Path(folder) / "features.npy", mmap_mode="r", allow_pickle=False)
        return cls(features, tuple(slice(int(a), int(b)) for a, b in region))

    def labels(self, head: Head, count: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Draw whole segmentations `[*region]` (class indices) on the region."""
        device = generator.device
        with torch.inference_mode():
            features = torch.from_numpy(np.asarray(self.features, dtype=np.float32)).to(device)[None]
            for logits in head(features).distribution.sample(count, generator):
                yield most_likely(logits[0])
