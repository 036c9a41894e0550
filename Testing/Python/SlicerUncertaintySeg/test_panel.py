"""The module's panel, driven as a person drives it: real clicks on real widgets, a real scene behind them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

MODULE = Path(__file__).resolve().parents[3] / "SlicerUncertaintySeg" / "UncertaintySeg.py"


@pytest.fixture
def desktop(host):
    from slicer_host import desktop

    desktop.start()
    return desktop


class User:
    """Clicks and looks."""

    def __init__(self, desktop, module) -> None:
        self.desktop = desktop
        self.module = module
        self.panel = module.widget.panel
        self.ui = self.panel.ui
        self.case = self.panel.review.case

    def click(self, button) -> None:
        from PySide6 import QtCore, QtTest

        QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def wait(self, seconds: float = 10.0) -> None:
        self.desktop.wait_until(lambda: not self.panel.review.busy, seconds)

    def connect(self, url: str) -> None:
        self.ui.serverLineEdit.setText(url)
        self.click(self.ui.connectButton)
        self.wait()

    def segment(self, url: str) -> None:
        """Connect, take the next case, and run the model."""
        self.connect(url)
        self.click(self.ui.nextCaseButton)
        self.wait()
        self.click(self.ui.runButton)
        self.wait()

    @property
    def status(self) -> str:
        return self.ui.statusLabel.text

    def table(self) -> list[list[str]]:
        table = self.ui.structuresTable
        return [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]

    def picture(self, path: Path) -> np.ndarray:
        assert self.module.window.grab().save(str(path))
        image = self.module.window.grab().toImage().convertToFormat(_rgb888())
        pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return pixels[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def _rgb888():
    from PySide6.QtGui import QImage

    return QImage.Format_RGB888


@pytest.fixture
def user(desktop, host):
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    module = desktop.load_module(MODULE)
    yield User(desktop, module)
    module.close()


def test_before_connecting_only_connect_can_be_pressed(user, tmp_path):
    ui = user.ui
    assert user.status == "Not connected."
    assert ui.connectButton.enabled
    for button in (ui.nextCaseButton, ui.runButton, ui.cancelButton, ui.submitButton):
        assert not button.enabled
    user.picture(tmp_path / "empty.png")


def test_connecting_lists_what_the_server_offers(user, wire_server):
    user.connect(wire_server.url)
    ui = user.ui
    assert user.status == "Connected to Uncertainty server: 2 models."
    assert [ui.modelComboBox.itemText(i) for i in range(ui.modelComboBox.count)] == ["phantom_low_rank", "stock_model"]
    assert ui.strategyComboBox.currentText == "predictive_entropy"
    assert ui.nextCaseButton.enabled
    assert not ui.runButton.enabled


def test_the_address_is_remembered(user, desktop, wire_server):
    user.connect(wire_server.url)
    again = desktop.load_module(MODULE)
    assert again.widget.panel.ui.serverLineEdit.text == wire_server.url
    again.close()


def test_no_server_is_said_in_the_status_line(user, tmp_path):
    user.connect("http://127.0.0.1:9")
    assert user.status.startswith("No MONAI Label server answers at http://127.0.0.1:9: start one with")
    picture = user.picture(tmp_path / "error.png").astype(int)
    red = (picture[..., 0] > 150) & (picture[..., 1] < 90)
    assert red.sum() > 200
    assert user.ui.connectButton.enabled


def test_next_case_shows_the_scan_and_why_it_was_chosen(user, wire_server, host):
    user.connect(wire_server.url)
    user.click(user.ui.nextCaseButton)
    user.wait()
    assert "rank 1 of 12" in user.status
    assert user.ui.caseNameLabel.text == "phantom_1"
    assert host.slice_view("Red").composite_node.GetBackgroundVolumeID() == user.case.scan.GetID()
    assert user.ui.runButton.enabled


def test_when_all_cases_are_labelled_it_says_so(user, wire_server):
    wire_server.remaining = 0
    user.connect(wire_server.url)
    user.click(user.ui.nextCaseButton)
    user.wait()
    assert user.status == "Every case has a label: nothing is left to review."


def test_run_shows_label_map_and_structure_table(user, wire_server, host, tmp_path):
    user.segment(wire_server.url)
    assert user.status == "phantom_1 segmented by phantom_low_rank."
    assert user.ui.mapComboBox.currentText == "Predictive entropy (nats)"
    assert host.slice_view("Red").composite_node.GetForegroundVolumeID() == user.case.maps["predictive_entropy"].GetID()
    assert user.table() == [
        ["organ", "17.21 [16.10, 18.42]", "0.042", "0.953"],
        ["⚠ lesion", "0.52", "0.213", "-"],
    ]
    assert user.ui.structuresTable.item(1, 0).toolTip() == "mean risk above 0.2"
    user.picture(tmp_path / "result.png")


def test_other_maps_are_fetched_when_they_are_chosen(user, wire_server):
    user.segment(wire_server.url)
    url = "/uncertainty/v1/results/k3y/maps/mutual_information.nii.gz"
    assert wire_server.count("GET", url) == 0
    user.ui.mapComboBox.setCurrentIndex(2)
    user.wait()
    assert user.case.shown == "mutual_information"
    user.ui.mapComboBox.setCurrentIndex(1)
    user.ui.mapComboBox.setCurrentIndex(2)
    user.wait()
    assert wire_server.count("GET", url) == 1
    user.ui.mapComboBox.setCurrentIndex(0)
    assert user.case.shown is None
    assert not user.ui.thresholdSlider.enabled


def test_the_sliders_move_threshold_and_opacity(user, wire_server, host):
    user.segment(wire_server.url)
    ui, name = user.ui, "predictive_entropy"
    assert (ui.thresholdSlider.minimum, ui.thresholdSlider.maximum) == (0.0, user.case.maximum(name))
    assert ui.thresholdSlider.value == pytest.approx(user.case.threshold(name))
    ui.thresholdSlider.spin_box.setValue(0.37)
    assert user.case.threshold(name) == pytest.approx(0.37)
    ui.opacitySlider.slider.setValue(5)
    assert host.slice_view("Green").composite_node.GetForegroundOpacity() == pytest.approx(0.25)


def test_a_threshold_stays_when_the_map_is_shown_again(user, wire_server):
    user.segment(wire_server.url)
    user.ui.thresholdSlider.setValue(0.37)
    user.ui.mapComboBox.setCurrentIndex(2)
    user.wait()
    user.ui.mapComboBox.setCurrentIndex(1)
    assert user.ui.thresholdSlider.value == pytest.approx(0.37)


def test_progress_moves_while_the_window_stays_alive(user, wire_server, desktop, tmp_path):
    wire_server.job_states = [
        {"state": "queued", "queue_position": 2},
        {"state": "running", "fraction": 0.5, "stage": "moments"},
    ]
    user.connect(wire_server.url)
    user.click(user.ui.nextCaseButton)
    user.wait()
    user.click(user.ui.runButton)
    desktop.wait_until(lambda: user.status == "Waiting for 2 others...")
    desktop.wait_until(lambda: user.status == "Moments...")
    assert user.ui.progressBar.value == 45
    assert user.ui.cancelButton.enabled
    assert not user.ui.runButton.enabled
    user.picture(tmp_path / "running.png")
    wire_server.job_states = [{"state": "done"}]
    user.wait()
    assert user.table()


def test_cancel_stops_the_job_on_the_server(user, wire_server, desktop):
    wire_server.job_states = [{"state": "running", "fraction": 0.1, "stage": "window 1"}]
    user.connect(wire_server.url)
    user.click(user.ui.nextCaseButton)
    user.wait()
    user.click(user.ui.runButton)
    desktop.wait_until(lambda: user.status == "Window 1...")
    user.click(user.ui.cancelButton)
    user.wait()
    assert user.status == "Cancelled."
    assert wire_server.count("DELETE", "/uncertainty/v1/jobs/job-1") == 1
    assert user.ui.runButton.enabled


def test_a_failed_job_keeps_the_case(user, wire_server):
    wire_server.job_states = [{"state": "failed", "error": "phantom_1 holds NaN: export it again."}]
    user.segment(wire_server.url)
    assert user.status == "phantom_1 holds NaN: export it again."
    assert user.case.scan is not None
    assert user.ui.runButton.enabled


def test_submit_sends_the_corrected_label(user, wire_server, phantom_case, tmp_path):
    user.segment(wire_server.url)
    segmentation, scan = user.case.segmentation, user.case.scan
    organ = segmentation.GetSegmentation().GetSegmentIdBySegmentName("organ")
    mask = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, organ, scan).copy()
    mask[:3] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, organ, scan)
    user.click(user.ui.submitButton)
    user.wait()
    assert user.status == "The label of phantom_1 is saved on the server."
    query, name, content = wire_server.uploads[0]
    assert query == {"image": ["phantom_1"], "tag": ["final"]}
    (tmp_path / name).write_bytes(content)
    received, before = nib.load(tmp_path / name), nib.load(phantom_case.label)
    assert (np.asarray(received.dataobj)[..., -3:] == 1).all()
    np.testing.assert_array_equal(np.asarray(received.dataobj)[..., :-3], np.asarray(before.dataobj)[..., :-3])
    np.testing.assert_allclose(received.affine, before.affine, atol=1e-3)
    assert not user.case.edited


@pytest.mark.parametrize("answer", [False, True])
def test_edits_are_lost_only_with_consent(user, wire_server, monkeypatch, answer):
    user.segment(wire_server.url)
    user.case.edited = True
    before = user.case.segmentation
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_, **__: answer)
    user.click(user.ui.nextCaseButton)
    user.wait()
    assert (user.case.segmentation is before) == (not answer)


def test_a_broken_map_is_said_and_the_label_stays(user, wire_server, tmp_path):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"nothing")
    wire_server.case = dataclasses.replace(wire_server.case, risk=broken)
    user.segment(wire_server.url)
    assert "predictive_entropy.nii.gz cannot be read as an image" in user.status
    assert user.case.segmentation is not None
    assert user.ui.submitButton.enabled


def test_a_segmentation_deleted_by_the_user_is_said_when_submitting(user, wire_server, host):
    user.segment(wire_server.url)
    host.scene.RemoveNode(user.case.segmentation)
    user.click(user.ui.submitButton)
    user.wait()
    assert "no longer in the scene" in user.status
    assert wire_server.uploads == []


def test_closing_the_scene_forgets_the_case(user, wire_server, host):
    user.segment(wire_server.url)
    host.clear()
    user.desktop.process_events()
    assert user.ui.caseNameLabel.text == "none"
    assert user.table() == []
    assert not user.ui.submitButton.enabled
    user.click(user.ui.nextCaseButton)
    user.wait()
    assert user.ui.caseNameLabel.text == "phantom_1"


def test_nothing_in_the_panel_is_cut_off(user, wire_server):
    user.segment(wire_server.url)
    user.desktop.process_events()
    ui = user.ui
    for label in (ui.connectButton, ui.nextCaseButton, ui.runButton, ui.cancelButton, ui.thresholdLabel, ui.modelLabel):
        assert label.width >= label.fontMetrics().horizontalAdvance(label.text)
    table = ui.structuresTable
    assert table.horizontalHeader().length() <= table.width
    assert all(table.columnWidth(column) >= table.sizeHintForColumn(column) for column in range(4))


def test_the_modules_own_self_test_passes(user):
    user.module.instance.runTest()
