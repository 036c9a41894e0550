"""What Slicer has loaded of pictures and films goes to the server: as images and clips, in mm or in pixels."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from PySide6 import QtCore, QtTest

from Testing.Python.SlicerUncertaintySeg.scene.test_intake import film
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.scene import flat, layouts
from UncertaintySegLib.server.replies import parse_info


@pytest.fixture
def panel(open_panel, session, wire_server, host):
    panel = open_panel(CasesSection, RiskSection)
    session.url = wire_server.url
    session.state.info = parse_info(wire_server.info)
    session.changed.emit()
    panel.sections["Cases"].button.collapsed = False
    panel.sections["Cases"].ui.sceneGroupBox.collapsed = False
    yield panel
    panel.sections["Risk"].close()
    panel.sections["Cases"].close()


def click(widget) -> None:
    from slicer_host import desktop

    desktop.process_events()
    assert widget.isVisible()
    assert widget.isEnabled()
    QtTest.QTest.mouseClick(widget, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, QtCore.QPoint(8, widget.height // 2))
    desktop.process_events()


def send(panel, session, wire_server) -> tuple[dict, nib.Nifti1Image]:
    """Consent and upload; returns what the server was asked with, and the file that it got."""
    from slicer_host import desktop

    ui = panel.sections["Cases"].ui
    click(ui.consentCheckBox)
    click(ui.uploadButton)
    desktop.wait_until(lambda: not session.busy and not session.worker.pending)
    assert not session.state.is_error, session.state.message
    query, _name, content, _params = list(wire_server.uploads)[-1]
    packed = content[:2] == b"\x1f\x8b"
    return query, nib.Nifti1Image.from_bytes(gzip.decompress(content) if packed else content)


def test_a_film_becomes_a_clip_and_is_sent_and_played_as_one(panel, session, wire_server, host):
    frames = [np.full((6, 8), 10 * number, np.uint8) + np.arange(8, dtype=np.uint8) for number in range(3)]
    ui = panel.sections["Cases"].ui
    ui.volumeComboBox.setCurrentNode(film(*frames))
    assert "one frame of a clip of 3" in ui.volumeProblemLabel.text
    assert not ui.clipCheckBox.visible
    click(ui.copyButton)
    assert ui.volumeComboBox.currentNode().GetName() == "film clip"
    assert (ui.clipCheckBox.checked, ui.spacingCheckBox.checked) == (True, False)
    query, image = send(panel, session, wire_server)
    assert (query["axis"], query.get("spacing")) == (["time"], None)
    np.testing.assert_array_equal(np.asarray(image.dataobj), np.stack(frames).transpose(2, 1, 0))
    assert session.state.sample.axis == "time"
    assert slicer.app.layoutManager().layout == layouts.CLIP
    assert panel.sections["Risk"].clips.clip.count == 3
    session.close_case()


def test_slices_are_frames_where_somebody_says_so_and_space_otherwise(panel, session, wire_server, host):
    voxels = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8)
    volume = slicer.util.addVolumeFromArray(voxels, nodeClassName="vtkMRMLScalarVolumeNode", name="stack")
    ui = panel.sections["Cases"].ui
    ui.volumeComboBox.setCurrentNode(volume)
    assert (ui.clipCheckBox.checked, ui.spacingCheckBox.visible) == (False, False)
    query, _image = send(panel, session, wire_server)
    assert "axis" not in query
    session.close_case()
    click(ui.clipCheckBox)
    assert flat.is_clip(volume)
    assert send(panel, session, wire_server)[0]["axis"] == ["time"]
    session.close_case()
    click(ui.clipCheckBox)
    assert volume.GetAttribute(flat.AXIS) is None


def test_an_image_without_a_spacing_is_sent_in_pixels(panel, session, wire_server, host):
    voxels = np.arange(48, dtype=np.uint8).reshape(1, 6, 8)
    volume = slicer.util.addVolumeFromArray(voxels, nodeClassName="vtkMRMLScalarVolumeNode", name="photo")
    volume.SetSpacing(0.3, 0.3, 1.0)
    ui = panel.sections["Cases"].ui
    ui.volumeComboBox.setCurrentNode(volume)
    assert (ui.clipCheckBox.visible, ui.spacingCheckBox.checked) == (False, False)
    click(ui.spacingCheckBox)
    assert "is said to be unknown: work on a copy that counts pixels" in ui.volumeProblemLabel.text
    click(ui.copyButton)
    assert ui.spacingCheckBox.checked
    query, image = send(panel, session, wire_server)
    assert query["spacing"] == ["unknown"]
    np.testing.assert_allclose(image.header.get_zooms()[:2], [1.0, 1.0])
    assert slicer.app.layoutManager().layout == layouts.IMAGE
    session.close_case()
