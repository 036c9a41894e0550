"""A studies folder with one scan, and a label for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monailabel_app.app.assignments import Assignments
from monailabel_app.app.datastore import StudyDatastore

SHAPE = (4, 5, 6)


def write_label(path: Path, value: int) -> Path:
    """A label whose voxels are all of one class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.full(SHAPE, value, np.uint8), np.eye(4)).to_filename(path)
    return path


def voxels(path: Path | str) -> set[int]:
    return set(np.unique(np.asarray(nib.load(path).dataobj)).tolist())


@pytest.fixture
def label(tmp_path) -> Path:
    return write_label(tmp_path / "mine.nii.gz", 1)


@pytest.fixture
def studies(tmp_path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    scan = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    nib.Nifti1Image(scan, np.eye(4)).to_filename(folder / "a.nii.gz")
    return folder


@pytest.fixture
def open_folder(studies) -> Iterator[Callable[..., StudyDatastore]]:
    """Opens the folder, again where it is open: the first is closed as the end of a process does."""
    opened: list[StudyDatastore] = []

    def open_it(**options) -> StudyDatastore:
        for other in opened:
            other.close()
        opened[:] = [StudyDatastore(str(studies), **options)]
        return opened[0]

    yield open_it
    for datastore in opened:
        datastore.close()


@pytest.fixture
def datastore(open_folder, label) -> StudyDatastore:
    """The open folder, with a final label and a note of its scan."""
    found = open_folder()
    found.save_label("a", str(label), "final", {"author": "me"})
    found.update_image_info("a", {"ward": 3})
    return found


@pytest.fixture
def two_versions(studies, open_folder, tmp_path) -> Path:
    """Inputs, and a folder that is copied for each step: two versions of a label, a lease, a note."""
    write_label(tmp_path / "inputs" / "new.nii.gz", 3)
    nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE), np.eye(4)).to_filename(
        tmp_path / "inputs" / "scan.nii.gz"
    )
    datastore = open_folder()
    for value in (1, 2):
        datastore.save_label("a", str(write_label(tmp_path / "l.nii.gz", value)), "final", {"author": "me"})
    datastore.update_image_info("a", {"ward": 3})
    Assignments(datastore).hold("a", "bert", 30)
    datastore.close()
    return studies
