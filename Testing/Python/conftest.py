"""Fixtures that several folders of tests share. Nothing heavy is imported before a test asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gpu: needs a CUDA device; `pytest -m gpu` runs these alone")


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
    slicer_host = pytest.importorskip("slicer_host")
    return slicer_host.start()


@pytest.fixture
def host(session_host):
    """The Slicer core with an empty scene."""
    session_host.clear()
    yield session_host
    session_host.clear()
