"""A scan and the desktop, for the tests of the host itself."""

from __future__ import annotations

import numpy as np
import pytest
import slicer


@pytest.fixture
def ramp(host):
    """A volume whose value is its position along the left-right axis, 1 mm voxels, centred on the origin."""
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


@pytest.fixture
def desktop(host):
    pytest.importorskip("PySide6")
    from slicer_host import desktop

    desktop.start()
    desktop.answers.clear()
    yield desktop
    desktop.answers.clear()
