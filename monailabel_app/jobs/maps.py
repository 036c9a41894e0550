"""Maps of a result on disk: 16 bits a voxel, and of a structure's map only the boxes where it is not 0."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from uncertaintyseg.data.writing import encode_steps, map_steps
from uncertaintyseg.inference.volumes import Block, BoxVolume, StepVolume
from uncertaintyseg.review.boxes import slabs
from uncertaintyseg.review.calibration import MEASURE

if TYPE_CHECKING:
    from uncertaintyseg.inference.prediction import Prediction

INDEX = "maps.json"


class Place(BaseModel):
    """How a map lies in its file.

    Attributes:
        slope: of a step.
        intercept: value of step 0.
        shape: of the whole map.
        total: sum of the values before they were rounded, of a map of boxes.
        blocks: of a map of boxes: first voxel and size of each, in the order of the file; None: it holds all voxels.
    """

    slope: float
    intercept: float
    shape: tuple[int, ...]
    total: float | None = None
    blocks: list[tuple[tuple[int, ...], tuple[int, ...]]] | None = None


def write_maps(folder: Path, prediction: Prediction) -> None:
    """Write the maps of a prediction, `<name>.npy` each and an index.

    Raises:
        InputError: A map holds NaN, or leaves its range.
        OSError: The disk does not take them.
    """
    index = {}
    for name, values in prediction.maps.items():
        limits, upward = prediction.map_info[name].range, name == MEASURE  # no doubt is lost to rounding
        _, slope, low = map_steps(np.zeros(0), limits, upward=upward)
        place = Place(slope=slope, intercept=low, shape=values.shape)
        if isinstance(values, BoxVolume):
            flat = [_steps(block.values, limits, upward=upward).reshape(-1) for block in values.blocks]
            steps = np.concatenate([np.zeros(0, np.uint16), *flat])
            place.total, place.blocks = values.total, [(block.start, block.values.shape) for block in values.blocks]
        else:
            steps = _steps(values, limits, upward=upward)
        np.save(folder / f"{name}.npy", steps, allow_pickle=False)
        index[name] = place.model_dump()
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def read_maps(folder: Path, names: Iterable[str]) -> dict[str, StepVolume | BoxVolume]:
    """Open maps; what is read of them is read from disk then.

    Raises:
        FileNotFoundError: They are not there (any more).
    """
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return {name: _opened(folder / f"{name}.npy", Place.model_validate(index[name])) for name in names}


def encoded_map(folder: Path, name: str, affine: np.ndarray) -> bytes:
    """A map as gzipped NIfTI, as `data.writing.encode_map` makes it.

    Raises:
        FileNotFoundError: It is not there (any more).
    """
    place = Place.model_validate(json.loads((folder / INDEX).read_text(encoding="utf-8"))[name])
    found = _opened(folder / f"{name}.npy", place)
    if isinstance(found, StepVolume):
        return encode_steps(found.steps, affine, place.slope, place.intercept)
    steps = BoxVolume(found.shape, [Block(block.start, block.values.steps) for block in found.blocks], total=0)
    return encode_steps(steps, affine, place.slope, place.intercept)


def _opened(path: Path, place: Place) -> StepVolume | BoxVolume:
    steps = np.load(path, mmap_mode="r", allow_pickle=False)
    if place.blocks is None:
        return StepVolume(steps, place.slope, place.intercept)
    blocks, first = [], 0
    for start, size in place.blocks:
        last = first + int(np.prod(size))
        blocks.append(Block(start, StepVolume(steps[first:last].reshape(size), place.slope, place.intercept)))
        first = last
    return BoxVolume(place.shape, blocks, place.total)


def _steps(values: np.ndarray, limits: tuple[float, float], *, upward: bool) -> np.ndarray:
    """A map in steps, uint16 `[*S]`, made of a slab at a time."""
    steps = np.zeros(values.shape, np.uint16)
    for slab in slabs(values.shape):
        steps[slab] = map_steps(values[slab], limits, upward=upward)[0]
    return steps
