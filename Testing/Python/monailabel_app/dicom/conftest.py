"""Series on disk, a real Orthanc that holds some, and a datastore over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, rotation, write_series
from Testing.Python.monailabel_app.dicom.orthanc import Orthanc, running
from uncertaintyseg import wire
from uncertaintyseg.data.writing import write_volume

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
def start_orthanc(tmp_path_factory) -> Iterator[Callable[..., Orthanc]]:
    """Starts Orthancs, each with its own folder and ports, and ends them with the run."""
    with ExitStack() as stack:
        yield lambda password=None: stack.enter_context(running(tmp_path_factory.mktemp("orthanc"), password))


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


@pytest.fixture
def open_datastore(labels, tmp_path, monkeypatch):
    """Opens datastores over an Orthanc, which then synchronise only when told to."""
    from monailabel_app.app.dicomweb import DicomWebDatastore
    from monailabel_app.dicom.server import DicomWebServer

    monkeypatch.setattr(DicomWebDatastore, "_sync_for_ever", lambda self: None)
    opened = []

    def run(orthanc, limit_bytes: int = 10**9):
        folder = tmp_path / "mirror"
        folder.mkdir(exist_ok=True)
        for other in opened:
            other.close()
        opened.append(
            DicomWebDatastore(folder, DicomWebServer(orthanc.url), limit_bytes, lambda model: (labels, "ab" * 32))
        )
        return opened[-1]

    yield run
    for datastore in opened:
        datastore.close()


@pytest.fixture
def datastore(open_datastore, orthanc):
    return open_datastore(orthanc)


@pytest.fixture
def label_file(series_folder, tmp_path) -> Path:
    """A label on the oblique series, and the same with an axis turned."""
    from monailabel_app.dicom.series import read_series

    values = np.random.default_rng(3).choice([0, 2, 5], SHAPE).astype(np.uint8)
    affine = read_series(series_folder).affine
    write_volume(tmp_path / "label.nii.gz", values, affine)
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 1] * (SHAPE[1] - 1)
    flipped[:3, 1] *= -1
    write_volume(tmp_path / "flipped.nii.gz", values[:, ::-1], flipped)
    return tmp_path / "label.nii.gz"
