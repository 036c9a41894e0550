"""Fixtures of the slow proofs. What a test measures goes to `record_property(name, value)` and so to docs/proof.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from Testing.proof.folders import Folder
from Testing.Python.conftest import shared_data
from Testing.Python.servers import SERVE, launch, scans

__all__ = ["launch", "scans", "shared_data"]  # fixtures of the other tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="minutes instead of the full proof")


@pytest.fixture(scope="session")
def quick(request) -> bool:
    """Whether this is a short run, for work on the proofs themselves."""
    return request.config.getoption("--quick")


@pytest.fixture
def folder(tmp_path, scans):
    """A studies folder whose server can be killed and started again."""
    folder = Folder(tmp_path, SERVE)
    folder.fill(scans)
    yield folder
    folder.kill()


@pytest.fixture
def label_of(tmp_path):
    """Writes a label for a scan whose voxels say which one it is: `label_of(scan, number)`."""
    import nibabel as nib
    import numpy as np

    def write(scan: Path, number: int) -> Path:
        image = nib.load(scan)
        values = np.zeros(image.shape, np.uint8)
        values.ravel()[:32] = 1 + (number >> np.arange(32) & 1)
        path = tmp_path / f"{number}_{scan.name}"
        nib.Nifti1Image(values, image.affine).to_filename(path)
        return path

    return write
