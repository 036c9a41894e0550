"""Data sets of a few small cases on disk, of which everything is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from uncertaintyseg.data.dataset import DataSet, Structure, read_dataset
from uncertaintyseg.data.writing import write_volume

SHAPE, SPACING = (12, 10, 8), (1.0, 2.0, 3.0)
NAMES = {"organ": 1, "lesion": 2}


def scan(seed: int, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """Noise of mean 100 and standard deviation 10, float32."""
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


def label(shape: Sequence[int] = SHAPE) -> np.ndarray:
    """An organ in the middle half, a lesion of 2 x 2 x 2 voxels in it."""
    drawn = np.zeros(shape, np.uint8)
    drawn[tuple(slice(n // 4, n - n // 4) for n in shape)] = 1
    drawn[tuple(slice(n // 2 - 1, n // 2 + 1) for n in shape)] = 2
    return drawn


def write_case(
    folder: Path, case_id: str, image: np.ndarray | Sequence[np.ndarray], drawn: np.ndarray | None,
    affine: np.ndarray | None = None,
) -> None:  # fmt: skip
    """One case as nnU-Net lays it out.

    Args:
        folder: of the data set.
        case_id: of the case.
        image: `[X, Y, Z]`, or one of each channel.
        drawn: `[X, Y, Z]`; None: no label.
        affine: 4x4, voxel to RAS+ mm; by default voxels of `SPACING` along R, A, S.
    """
    affine = np.diag([*SPACING, 1.0]) if affine is None else affine
    images = [image] if isinstance(image, np.ndarray) else image
    for number, channel in enumerate(images):
        write_volume(folder / "imagesTr" / f"{case_id}_{number:04d}.nii.gz", channel, affine)
    if drawn is not None:
        write_volume(folder / "labelsTr" / f"{case_id}.nii.gz", drawn, affine)


def make(
    folder: Path,
    count: int = 6,
    *,
    channels: Sequence[str] = ("T1",),
    change: Callable[[int, list], None] | None = None,
) -> DataSet:
    """A data set of alike cases `case_0`, `case_1`, ...

    Args:
        folder: to write it in.
        count: of cases.
        channels: their names.
        change: called with the number of a case and [images, label, affine], which it may change.
    """
    for number in range(count):
        images = [scan(number * len(channels) + at) for at in range(len(channels))]
        drawn = label()
        drawn[0, 0, 0] = number % 3  # so that labels are not the same
        drawn[1, 0, number % 8] = 1
        parts = [images, drawn, np.diag([*SPACING, 1.0])]
        if change is not None:
            change(number, parts)
        write_case(folder, f"case_{number}", *parts)
    labels = [Structure(number, name, (255, 50 * number, 0)) for name, number in NAMES.items()]
    return replace(read_dataset(folder), labels=labels, values={}, channels=list(channels), notes=())
