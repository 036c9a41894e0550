"""What the tests of the server app share beside the servers themselves: commands that refuse, scans and labels."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.servers import ROOT, SERVE, environment, find_free_port, poll


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture
def run_to_the_end(tmp_path):
    """Runs a command that should refuse to start."""

    def run(command: list[str]) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=180, check=False
        )

    return run


@pytest.fixture
def serve_command() -> list[str]:
    return SERVE


@pytest.fixture(scope="session")
def image(scans) -> str:
    """Id of a scan in the studies folder."""
    return scans[0].name.removesuffix(".nii.gz")


@pytest.fixture(scope="session")
def cached(server, image) -> str:
    """The same scan, once the baseline model has a result for it."""
    assert server.infer(server.baseline, image)["state"] == "done"
    return image


@pytest.fixture(scope="session")
def big_scan(scans, tmp_path_factory) -> Path:
    """A scan that takes long enough to look at the server meanwhile."""
    volume = nib.load(scans[0])
    path = tmp_path_factory.mktemp("big") / "big.nii.gz"
    nib.Nifti1Image(np.tile(volume.get_fdata(dtype=np.float32), (4, 4, 4)), volume.affine).to_filename(path)
    return path


@pytest.fixture(scope="module")
def big_image(server, big_scan) -> Iterator[str]:
    """The big scan's id while it is in the studies folder."""
    with big_scan.open("rb") as file:
        assert server.http.put("/datastore/image", files={"file": file}).json() == {"image": "big"}
    time.sleep(0.5)  # a server that was asked for scores before begins to score it by itself
    server.cancel_all()
    yield "big"
    server.cancel_all()
    server.http.delete("/datastore/image?id=big")
    poll(lambda: "big" not in server.images())


@pytest.fixture
def saved_label(server, image, tmp_path) -> Iterator[Path]:
    """A label file that the server has saved for `image`."""
    scan = nib.load(server.studies / f"{image}.nii.gz")
    values = np.zeros(scan.shape, np.uint8)
    values[2:6, 3:8, 4:9] = 1
    values[6:9, 3:8, 4:9] = 2
    path = tmp_path / "label.nii.gz"
    nib.Nifti1Image(values, scan.affine).to_filename(path)
    assert server.put_label(image, path).status_code == 200
    yield path
    server.remove_label(image)
