"""The cases, driven as a person drives them, from a real server process over four small scans."""

from __future__ import annotations

import time

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.SlicerUncertaintySeg.scene.test_intake import add_transform, add_volume, geometry
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.server.replies import CaseRow, Lease


@pytest.fixture
def annotator(host, tmp_path):
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at([CasesSection], tmp_path / "downloads") as annotator:
        yield annotator


@pytest.fixture
def connected(annotator, server):
    annotator.connect(server.url)
    yield annotator
    for image in server.images():
        server.http.put(
            "/datastore/image/info", params={"image": image}, data={"info": '{"lease": null, "skipped": null}'}
        )


def column(table, number: int) -> list[str]:
    return [table.item(row, number).text() for row in range(table.rowCount)]


def test_before_connecting_nothing_can_be_pressed(annotator, tmp_path):
    ui = annotator.cases.ui
    for button in (ui.nextButton, ui.skipButton, ui.previousButton, ui.scoreButton, ui.refreshButton, ui.uploadButton):
        assert not button.isEnabled()
    assert ui.caseLabel.text == "No case is open."
    annotator.picture(tmp_path / "empty.png")


def test_connecting_lists_strategies_and_cases(connected, server, tmp_path):
    ui = connected.cases.ui
    assert ui.strategyComboBox.currentText == "predictive_entropy"
    assert len(ui.strategyComboBox.toolTip) > 20
    assert sorted(column(ui.casesTable, 0)) == server.images()
    assert set(column(ui.casesTable, 1)) == {"open"}
    assert (ui.labelledProgressBar.value, ui.labelledProgressBar.maximum) == (0, 4)
    connected.picture(tmp_path / "connected.png")


def test_files_that_are_no_cases_are_counted_and_the_reason_is_at_hand(connected, server):
    ui, dead = connected.cases.ui, server.studies / "dead.nii.gz"
    dead.symlink_to(server.studies / "gone.nii.gz")
    try:
        server.wait_until(lambda: server.http.get("/uncertainty/v1/cases").json()["skipped"])
        connected.click(ui.refreshButton)
        connected.wait()
        assert ui.countLabel.text == "4 cases\n1 file is not served; hover to see why."
        assert ui.countLabel.toolTip.startswith("dead.nii.gz: ")
    finally:
        dead.unlink()
        server.wait_until(lambda: not server.http.get("/uncertainty/v1/cases").json()["skipped"])


def test_next_case_shows_the_scan_why_it_was_chosen_and_who_has_it(connected, host, tmp_path):
    connected.next_case()
    ui, sample = connected.cases.ui, connected.session.state.sample
    assert ui.caseLabel.text == sample.id
    assert sample.reason in ui.reasonLabel.text
    assert connected.status == f"{sample.id} opened."
    assert "4 without a label" in ui.reasonLabel.text
    assert "strategy: predictive_entropy" in ui.reasonLabel.toolTip
    assert host.slice_view("Red").composite_node.GetBackgroundVolumeID() == connected.scene.scan.GetID()
    row = column(ui.casesTable, 0).index(sample.id)
    assert ui.casesTable.item(row, 1).text() == "yours"
    assert ui.casesTable.item(row, 3).text().startswith("you, until ")
    assert ui.casesTable.item(row, 0).font().bold()
    connected.picture(tmp_path / "next.png")


def test_skip_passes_over_and_previous_comes_back(connected, tmp_path):
    connected.next_case()
    first = connected.session.state.sample.id
    connected.click(connected.cases.ui.skipButton)
    connected.wait()
    second = connected.session.state.sample.id
    assert second != first
    ui = connected.cases.ui
    assert ui.casesTable.item(column(ui.casesTable, 0).index(first), 1).text() == "skipped"
    connected.click(ui.previousButton)
    connected.wait()
    assert connected.session.state.sample.id == first
    assert not ui.previousButton.isEnabled()


def test_a_double_click_opens_any_case_with_a_lease(connected, server):
    table = connected.cases.ui.casesTable
    image = server.images()[2]
    table.cellDoubleClicked.emit(column(table, 0).index(image), 0)
    connected.wait()
    assert connected.session.state.sample.id == image
    assert connected.status == f"{image} opened."
    (row,) = (row for row in connected.cases.cases.rows if row.id == image)
    assert row.lease.mine


def test_a_case_that_another_has_is_refused_and_says_who(connected, server):
    image = server.images()[1]
    server.http.post(f"/uncertainty/v1/cases/{image}/lease", json={"minutes": 5, "client_id": "Dr Other"})
    connected.click(connected.cases.ui.refreshButton)
    connected.wait()
    table = connected.cases.ui.casesTable
    row = column(table, 0).index(image)
    assert (table.item(row, 1).text(), table.item(row, 3).text()[:10]) == ("taken", "Dr Other, ")
    table.cellDoubleClicked.emit(row, 0)
    connected.wait()
    assert connected.session.state.is_error
    assert "Dr Other" in connected.status
    assert connected.session.state.sample is None


def test_a_case_with_a_final_label_brings_it_along(connected, server, tmp_path):
    image = server.images()[0]
    scan = nib.load(server.studies / f"{image}.nii.gz")
    label = np.zeros(scan.shape, np.uint8)
    label[5:9, 5:9, 5:9] = 1
    nib.Nifti1Image(label, scan.affine).to_filename(tmp_path / "label.nii.gz")
    assert server.put_label(image, tmp_path / "label.nii.gz").status_code == 200
    try:
        connected.session.cases_changed.emit()
        connected.wait()
        assert connected.cases.ui.labelledProgressBar.value == 1
        table = connected.cases.ui.casesTable
        table.cellDoubleClicked.emit(column(table, 0).index(image), 0)
        connected.wait()
        assert "has a label already" in connected.status
        received = nib.load(connected.session.state.label)
        np.testing.assert_array_equal(np.asarray(received.dataobj), label)
    finally:
        server.remove_label(image)


def test_next_goes_on_to_every_case_before_one_comes_again(connected, server):
    opened = []
    for _number in range(len(server.images()) + 1):
        connected.next_case()
        opened.append(connected.session.state.sample.id)
    assert sorted(opened[:-1]) == server.images()
    assert opened[-1] not in opened[1:-1]


@pytest.mark.parametrize(("answer", "goes_on"), [("Cancel", False), ("Ok", True)])
def test_a_case_with_edits_is_left_only_with_consent(connected, answer, goes_on):
    connected.next_case()
    before = connected.session.state.sample.id
    connected.scene.edited = True
    connected.desktop.answers.buttons.append(answer)
    connected.next_case()
    assert (connected.session.state.sample.id != before) == goes_on
    question = f"Your edits of {before} are not submitted. They are offered as a draft when you open it again."
    assert connected.desktop.answers.asked[-1:] == [question]
    connected.scene.edited = False


def test_somebody_else_may_want_the_next_case(connected):
    connected.session.next_wanted.emit()
    connected.wait()
    assert connected.session.state.sample is not None


def test_the_strategy_is_remembered(connected, host, tmp_path, server):
    connected.choose(connected.cases.ui.strategyComboBox, "random")
    with sitting_at([CasesSection], tmp_path / "again") as again:
        again.connect(server.url)
        assert again.cases.ui.strategyComboBox.currentText == "random"
        again.choose(again.cases.ui.strategyComboBox, "predictive_entropy")


def test_read_only_neither_skips_nor_leases(connected, server):
    connected.session.state.read_only = True
    connected.session.changed.emit()
    connected.next_case()
    ui = connected.cases.ui
    assert not ui.skipButton.isEnabled()
    assert not ui.sceneGroupBox.visible
    other = server.images()[1]
    server.http.post(f"/uncertainty/v1/cases/{other}/lease", json={"minutes": 5, "client_id": "Dr Other"})
    connected.cases.cases.open(other)
    connected.wait()
    assert connected.session.state.sample.id == other
    leases = {row.id: row.lease for row in connected.cases.cases.rows if row.lease}
    assert list(leases) == [other]
    assert not leases[other].mine


def test_scoring_runs_in_the_background_and_fills_the_table(connected, server):
    connected.session.state.model = server.baseline
    connected.session.changed.emit()
    connected.wait()
    connected.click(connected.cases.ui.scoreButton)
    assert connected.panel.ui.progressBar.visible
    assert not connected.cases.ui.nextButton.isEnabled()
    connected.wait()
    assert connected.status == f"4 cases are scored by {server.baseline}."
    scores = [float(text) for text in column(connected.cases.ui.casesTable, 2)]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


def many_rows(count: int) -> list[CaseRow]:
    until = time.time() + 600
    lease = Lease("Dr Other", until)
    return [
        CaseRow(f"case_{number:04d}", "unlabelled", score=number / count, lease=lease if number == 7 else None)
        for number in range(count)
    ]


def test_the_table_filters_sorts_and_grows_as_it_is_scrolled(annotator):
    annotator.cases.cases.rows = many_rows(5000)
    annotator.session.changed.emit()
    ui = annotator.cases.ui
    assert column(ui.casesTable, 0)[:2] == ["case_4999", "case_4998"]  # the most doubtful first
    assert ui.casesTable.rowCount == 200
    annotator.desktop.process_events()
    ui.casesTable.verticalScrollBar().setValue(ui.casesTable.verticalScrollBar().maximum)
    assert ui.casesTable.rowCount == 400
    ui.casesTable.horizontalHeader().setSortIndicator(0, _ascending())
    assert column(ui.casesTable, 0)[:2] == ["case_0000", "case_0001"]
    ui.filterLineEdit.setText("other TAKEN")
    assert column(ui.casesTable, 0) == ["case_0007"]
    assert ui.countLabel.text == "1 of 5000 cases"


def _ascending():
    from PySide6 import QtCore

    return QtCore.Qt.AscendingOrder


def test_a_server_that_is_gone_is_said_and_the_case_stays(connected):
    connected.next_case()
    before = connected.session.state.sample
    connected.session.url = "http://127.0.0.1:9"
    connected.click(connected.cases.ui.nextButton)
    connected.wait()
    assert "No MONAI Label server answers at http://127.0.0.1:9" in connected.status
    assert connected.session.state.sample is before
    assert connected.scene.scan.GetScene() is not None


def test_a_scene_volume_is_uploaded_only_with_consent_and_is_then_a_case(connected, server, tmp_path):
    affine = np.array([[-1.5, 0, 0, 40], [0, 0, 1.2, -30], [0, 2.0, 0, 5], [0, 0, 0, 1]])  # left-handed, axes swapped
    volume = add_volume(affine, "My CT")
    before, ui = slicer.util.arrayFromVolume(volume).copy(), connected.cases.ui
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(volume)
    connected.desktop.process_events()
    assert f"will be copied to {server.url} as 'My_CT-" in ui.consentLabel.text
    assert not ui.uploadButton.isEnabled()
    connected.tick(ui.consentCheckBox)
    connected.picture(tmp_path / "upload.png")
    connected.click(ui.uploadButton)
    connected.wait()
    image = ui.uploadNameLineEdit.text
    try:
        assert connected.status == f"{image} is on the server: run a model on it."
        assert image in server.images()
        assert connected.session.state.sample.id == image
        assert next(row for row in connected.cases.cases.rows if row.id == image).lease.mine
        assert connected.scene.scan is volume
        stored = nib.load(server.studies / f"{image}.nii")
        np.testing.assert_array_equal(np.asarray(stored.dataobj).transpose(2, 1, 0), before)
        np.testing.assert_allclose(stored.affine, affine, atol=1e-4)
        assert not list((connected.session.folder / "uploads").iterdir())
        assert not ui.consentCheckBox.checked
        connected.cases.cases.open(next(other for other in server.images() if other != image))
        connected.wait()
        assert connected.scene.scan is not volume
        assert volume.GetScene() is not None
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volume), before)
        np.testing.assert_allclose(geometry(volume), affine)
        connected.click(ui.previousButton)
        connected.wait()
        assert connected.session.state.sample.id == image
    finally:
        server.http.delete("/datastore/image", params={"id": image})


def test_consent_is_for_one_volume(annotator):
    first, second, ui = add_volume(name="a"), add_volume(name="b"), annotator.cases.ui
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(first)
    annotator.tick(ui.consentCheckBox)
    ui.volumeComboBox.setCurrentNode(second)
    assert not ui.consentCheckBox.checked


def test_a_moved_volume_is_helped_by_a_copy(annotator):
    volume, ui = add_volume(name="CT"), annotator.cases.ui
    shift = np.eye(4)
    shift[0, 3] = 10.0
    volume.SetAndObserveTransformNodeID(add_transform(shift, "registration").GetID())
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(volume)
    assert "CT is moved by the transform registration" in ui.volumeProblemLabel.text
    assert not ui.consentCheckBox.visible
    annotator.click(ui.copyButton)
    copy = ui.volumeComboBox.currentNode()
    assert copy.GetName() == "CT copy"
    assert geometry(copy)[0, 3] == 10.0
    assert not ui.volumeProblemLabel.visible
    assert ui.consentCheckBox.visible


def test_a_name_that_is_none_is_said(connected):
    ui = connected.cases.ui
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(add_volume())
    connected.tick(ui.consentCheckBox)
    ui.uploadNameLineEdit.setText("../Jane Doe")
    connected.click(ui.uploadButton)
    assert "letters, digits" in connected.status


def test_a_volume_deleted_during_the_upload_is_said(connected, server, host):
    volume, ui = add_volume(), connected.cases.ui
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(volume)
    image = ui.uploadNameLineEdit.text
    connected.tick(ui.consentCheckBox)
    connected.click(ui.uploadButton)
    host.scene.RemoveNode(volume)
    connected.wait()
    assert image in column(ui.casesTable, 0)
    server.http.delete("/datastore/image", params={"id": image})
    assert connected.session.state.is_error
    assert "its volume left the scene meanwhile" in connected.status
    assert connected.session.state.sample is None
