"""A save with its audit entry, synced and kept as a version, beside MONAI Label's own datastore, which syncs nothing.

python -m Testing.benchmarks.save [--images 20 500]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from monailabel.datastore.local import LocalDatastore

from monailabel_app.app.datastore import StudyDatastore

SHAPE, SAVES = (40, 50, 40), 60
NOTE = {"scores": {"model": {"predictive_entropy": 0.5, "features": "x" * 400}}}
"""What a scored image has in its record."""


def fill(folder: Path, images: int) -> None:
    scan = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    nib.Nifti1Image(scan, np.eye(4)).to_filename(folder / "0.nii.gz")
    for number in range(1, images):
        (folder / f"{number}.nii.gz").hardlink_to(folder / "0.nii.gz")


def ours(folder: Path) -> Callable[[str], None]:
    datastore = StudyDatastore(str(folder))
    for image in datastore.list_images():
        datastore.update_image_info(image, NOTE)

    def save(label: str) -> None:
        datastore.save_label("0", label, "final", {}, lambda v: datastore.store.append_audit({"time": "", "id": v.id}))

    return save


def theirs(folder: Path) -> Callable[[str], None]:
    datastore = LocalDatastore(str(folder), extensions=["*.nii.gz"])
    for image in datastore.list_images():
        datastore._datastore.objects[image].image.info.update(NOTE)
    return lambda label: datastore.save_label("0", label, "final", {})


def milliseconds(make: Callable[[Path], Callable[[str], None]], images: int) -> float:
    """Median of a save."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        studies, label, times = Path(folder) / "studies", Path(folder) / "label.nii.gz", []
        studies.mkdir()
        fill(studies, images)
        save, voxels = make(studies), np.zeros(SHAPE, np.uint8)
        for number in range(SAVES):
            voxels.flat[: 100 * number] = 1
            nib.Nifti1Image(voxels, np.eye(4)).to_filename(label)
            began = time.perf_counter()
            save(str(label))
            times.append(time.perf_counter() - began)
        return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 500])
    logging.disable(logging.WARNING)
    for images in parser.parse_args().images:
        mine, stock = milliseconds(ours, images), milliseconds(theirs, images)
        print(f"{images} images: ours {mine:.1f} ms, MONAI Label's {stock:.1f} ms, ratio {mine / stock:.2f}")


if __name__ == "__main__":
    main()
