"""Series on disk, and a real Orthanc that holds some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, rotation, write_series
from Testing.Python.monailabel_app.dicom.orthanc import MISSING, Orthanc
from Testing.Python.servers import find_free_port, poll
from uncertaintyseg import wire

SHAPE = (20, 24, 12)


def hounsfield(seed: int = 0) -> np.ndarray:
    """A ball of 60 HU with a lesion of 20 HU in noisy fat, `SHAPE`."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    values = np.where((grid**2).sum(0) < 0.5, 60.0, -100.0)
    values = np.where(((grid - 0.2) ** 2).sum(0) < 0.08, 20.0, values)
    return np.rint(values + rng.normal(0, 10, SHAPE))


@pytest.fixture(scope="session")
def labels() -> list[wire.Label]:
    return [
        wire.Label(id=2, name="liver", rgb=(200, 80, 60), snomed="10200004"),
        wire.Label(id=5, name="liver lesion", rgb=(0, 255, 0)),
    ]


@pytest.fixture(scope="session")
def series_folder(tmp_path_factory) -> Path:
    """An oblique series whose files lie in no order."""
    folder = tmp_path_factory.mktemp("series") / "oblique"
    affine = make_affine((0.8, 1.1, 2.5), (-40, 25, 310), rotation(15, -20, 30))
    write_series(folder, hounsfield(), affine, shuffle=7)
    return folder


@pytest.fixture(scope="session")
def orthanc_folders(tmp_path_factory, series_folder) -> dict[str, Path]:
    """What Orthanc holds at first: series by kind."""
    root = tmp_path_factory.mktemp("for_orthanc")
    write_series(root / "reversed", hounsfield(1), make_affine((1, 1, 2)), reverse=True, modality="MR")
    write_series(root / "scaled", hounsfield(2), make_affine((1, 1.5, 3), (5, 6, 7)), slope=2, intercept=-1000)
    return {"oblique": series_folder, "reversed": root / "reversed", "scaled": root / "scaled"}


@pytest.fixture(scope="session")
def start_orthanc(tmp_path_factory) -> Iterator:
    """Starts Orthancs, each with its own folder and ports, and ends them with the run."""
    if MISSING:
        pytest.skip(MISSING)
    started: list[Orthanc] = []

    def run(password: str | None = None) -> Orthanc:
        server = Orthanc(tmp_path_factory.mktemp("orthanc"), find_free_port(), find_free_port(), password)
        server.start(poll)
        started.append(server)
        return server

    yield run
    for server in started:
        server.process.kill()  # its storage goes with the run
        server.process.wait()


@pytest.fixture(scope="session")
def orthanc(start_orthanc, orthanc_folders) -> Orthanc:
    """One Orthanc for all tests; they only add to it."""
    server = start_orthanc()
    for folder in orthanc_folders.values():
        server.upload(folder)
    return server


@pytest.fixture(scope="session")
def uids(orthanc_folders) -> dict[str, str]:
    """SeriesInstanceUIDs by kind."""
    from monailabel_app.dicom.series import read_series

    return {kind: read_series(folder).uid for kind, folder in orthanc_folders.items()}
