"""The risk of an edited label by a stored result: reading, reviewing and storing it, as the server does, on blobs."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import console, machine, seconds, show
from scipy import ndimage

from monailabel_app.app.reviews import review
from monailabel_app.jobs.results import ResultStore
from uncertaintyseg import wire
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.prediction import Prediction

SIZES = {(36, 50, 35): 2, (96, 96, 96): 12, (384, 384, 160): 2}
MADE_BY = wire.Provenance(
    model="blobs", head="none", weights_checksum="0", nodes=None, samples=None, seed=0, window=(1,), overlap=0.5,
    device="cpu", dtype="float32", code_version="0", seconds={},
)  # fmt: skip


def blobs(shape: tuple[int, int, int], count: int) -> tuple[Prediction, list[wire.Label]]:
    """A prediction of `count` balls with ragged soft borders."""
    rng = np.random.default_rng(0)
    labels = [wire.Label(id=i, name=f"ball {i}", rgb=(1, 2, 3)) for i in range(1, count + 1)]
    rough = 6 * ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 1)
    logits = np.zeros((count + 1, *shape), np.float32)
    for item in labels:
        centre = rng.uniform(0.25, 0.75, 3) * shape
        axes = (np.arange(n, dtype=np.float32) - c for n, c in zip(shape, centre, strict=True))
        distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
        logits[item.id] = 6 - 6 * distance / (0.15 * min(shape)) + rough
    p = np.exp(logits - logits.max(0))
    p /= p.sum(0)
    maps = {f"probability_{item.name}": p[item.id] for item in labels} | {"error_probability": 1 - p.max(0)}
    info = dict.fromkeys(maps, wire.MapInfo(unit="1", range=(0, 1), source="total"))
    return Prediction(p.argmax(0).astype(np.uint8), np.eye(4), maps, info, [], MADE_BY, 0.0), labels


def reviewed(shape: tuple[int, int, int], count: int, trusted: str, repeats: int) -> float:
    """Median seconds of a review; each time of another label, as the same one would come from the store."""
    base, labels = blobs(shape, count)
    edited, slices, key = ndimage.grey_dilation(base.label, 3), itertools.count(shape[2] // 2), "0" * 64
    with tempfile.TemporaryDirectory() as name:
        store, path = ResultStore(Path(name) / "results"), Path(name) / "label.nii.gz"
        store.put(key, base, labels)
        files = itertools.cycle([path.with_name(f"{i}.nii.gz") for i in range(repeats + 1)])
        for file in itertools.islice(files, repeats + 1):
            edited[..., next(slices)] = 0
            write_volume(file, edited, base.affine)
        return seconds(lambda: review(store, key, next(files), wire.ReviewRequest(trusted=trusted)), repeats)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console.print(machine())
    rows = []
    for shape, count in SIZES.items():
        found = [reviewed(shape, count, trusted, options.repeats) for trusted in ("edits", "none")]
        rows.append([" x ".join(map(str, shape)), str(count), *(f"{value:.2f}" for value in found)])
    show("Risk of a label", ["scan", "structures", "edited: s", "somebody else's: s"], rows)


if __name__ == "__main__":
    main()
