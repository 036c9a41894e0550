"""Fixtures that several folders of tests share. Nothing heavy is imported before a test asks for it.

`make test` runs two processes. All tests of a file stay in one of them, for the sake of what they share, and so do all
files that ask for the same long-lived server, which then starts once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.Python.servers import launch, scans, server, tiny_server

__all__ = ["launch", "scans", "server", "tiny_server"]  # fixtures

_STARTED_ONCE = ("server", "tiny_server", "guarded", "watched", "anatomic", "orthanc")

# Before torch is imported; two processes share the cores with the servers that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before Ray is imported: its nodes are on loopback, as on a desktop, report nothing, and do not stand back.
os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a CUDA device; `pytest -m gpu` runs these alone")


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests must run in one process; the longest rows of them begin."""
    asked_for: dict[Path, set[str]] = {}
    for item in items:
        asked_for.setdefault(item.path, set()).update(item.fixturenames)
    server_of = {path: next((name for name in _STARTED_ONCE if name in asked), "") for path, asked in asked_for.items()}
    for item in items:
        item.add_marker(pytest.mark.xdist_group(server_of[item.path] or item.path.stem))
    items.sort(key=lambda item: not server_of[item.path])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """A process that dies costs the test that it died of, and no more; else xdist would wait for ever."""
    if config.getoption("dist") != "loadgroup":
        return None
    from Testing.Python.scheduling import GroupScheduling

    return GroupScheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def own_models(tmp_path_factory) -> Path:
    """The user's model folder of all tests, also of the processes that they start: never that of who runs them."""
    folder = tmp_path_factory.mktemp("user_models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNCERTAINTYSEG_MODELS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real scans beside the checkout")
    return folder


@pytest.fixture(scope="session")
def session_host():
    """The Slicer core of this process."""
    pytest.importorskip("slicer")
    import headless_slicer

    return headless_slicer.start()


@pytest.fixture
def host(session_host):
    """The Slicer core with an empty scene."""
    session_host.clear()
    return session_host


@pytest.fixture
def ramp(host):
    """A volume whose value is its position along the left-right axis, 1 mm voxels, centred on the origin."""
    slicer = pytest.importorskip("slicer")
    values = np.tile(np.arange(60, dtype=np.float32), (40, 50, 1))
    matrix = np.eye(4)
    matrix[:3, 3] = [-30, -25, -20]
    volume = slicer.util.addVolumeFromArray(values, matrix, "ramp", "vtkMRMLScalarVolumeNode")
    volume.CreateDefaultDisplayNodes()
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 59)
    return volume


@pytest.fixture
def view(host, ramp):
    view = host.slice_view("Red")
    view.composite_node.SetBackgroundVolumeID(ramp.GetID())
    view.fit()
    return view


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes do not name a test: packed ones hold the time, and two processes must agree on the names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None
