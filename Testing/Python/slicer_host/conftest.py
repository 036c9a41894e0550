"""The desktop, for the tests of the host itself."""

from __future__ import annotations

import pytest


@pytest.fixture
def desktop(host):
    pytest.importorskip("PySide6")
    from slicer_host import desktop

    desktop.start()
    desktop.answers.clear()
    yield desktop
    desktop.answers.clear()
