"""What the strict intake of a label costs beside reading it with nibabel or ITK: seconds and memory of one save.

Both ways start from the bytes of a client and end with the label on disk, on the grid of its scan, each in a process of
its own, whose peak of memory is that of all files.
process"""

from __future__ import annotations

import argparse
import gzip
import io
import multiprocessing
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from common import console, machine, seconds, show

SHAPES = {"hippocampus": (36, 52, 38), "CT": (512, 512, 300)}
FORMATS = (".nii.gz", ".nrrd", ".mha")
WAYS = ("read natively", "intake")


def label(shape: tuple[int, int, int]) -> np.ndarray:
    """Two ellipsoids, as large in the volume as organs are."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    inner, outer = (sum((axis - shift) ** 2 for axis in grid) for shift in (0.3, -0.2))
    return np.where(inner < 0.1, 2, np.where(outer < 0.3, 1, 0)).astype(np.uint8)


def write(path: Path, values: np.ndarray) -> None:
    """As clients write it: packed."""
    import SimpleITK as sitk

    if path.name.endswith(".nii.gz"):
        path.write_bytes(gzip.compress(nib.Nifti1Image(values, np.diag([-1.0, -1, 1, 1])).to_bytes(), 6))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(values.T), str(path), useCompression=True)


def saves(way: str, paths: list[Path], shape: tuple[int, int, int], repeats: int) -> tuple[list[float], float]:
    """Median seconds of a save of each file, and the peak of all in MB above what the imports take."""
    import resource

    import torch
    from fastapi import UploadFile
    from monai.data import MetaTensor

    from monailabel_app.intake.received import received_label
    from uncertaintyseg.data.label_grid import Grid
    from uncertaintyseg.data.scan import read_label
    from uncertaintyseg.data.writing import write_volume

    affine = np.diag([-1.0, -1, 1, 1])
    like = MetaTensor(torch.empty((1, *shape), device="meta"), affine=torch.as_tensor(affine))

    def save(path: Path, folder: Path) -> None:
        if way == "intake":
            upload = UploadFile(io.BytesIO(path.read_bytes()), filename=path.name)
            values = received_label(upload, {"one": 1, "two": 2}, Grid(shape, affine, "scan"))
        else:
            copy = folder / path.name
            copy.write_bytes(path.read_bytes())
            values = read_label(copy, {1, 2}, like=like)[0].numpy()
        write_volume(folder / "saved.nii.gz", values, affine)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        found = [seconds(lambda path=path: save(path, Path(folder)), repeats) for path in paths]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return found, peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    console.print(machine())
    context, rows = multiprocessing.get_context("spawn"), []
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            paths = [Path(folder) / f"{name}{suffix}" for suffix in FORMATS]
            for path in paths:
                write(path, label(shape))
            figures = {}
            for way in WAYS:
                with context.Pool(1) as pool:
                    figures[way] = pool.apply(saves, (way, paths, shape, options.repeats))
            for suffix, *times in zip(FORMATS, *(figures[way][0] for way in WAYS), strict=True):
                peaks = [f"{figures[way][1]:.0f} MB" for way in WAYS]
                rows.append([name, suffix, *(f"{t:.3f} s" for t in times), f"{times[1] / times[0]:.2f}", *peaks])
    show("One label saved", ["label", "file", *WAYS, "ratio", *(f"peak, {way}" for way in WAYS)], rows)


if __name__ == "__main__":
    main()
