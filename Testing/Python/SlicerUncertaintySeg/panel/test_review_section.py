"""Labels are reviewed, compared and restored, and readers compared, with a real server over four small scans."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from UncertaintySegLib.logic.label_reviews import LabelReviews
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.review_section import ReviewSection
from UncertaintySegLib.panel.risk_section import RiskSection


@pytest.fixture
def user(host, tmp_path):
    from slicer_host import desktop

    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    desktop.answers.clear()
    with sitting_at([CasesSection, RiskSection, ReviewSection], tmp_path / "downloads") as user:
        user.review = user.panel.sections["Review"]
        user.review.button.collapsed = False
        user.ui = user.review.ui
        yield user


@pytest.fixture
def put(server, tmp_path):
    """Saves a box as somebody's label of a case; structure 1, so many planes long."""
    saved = set()

    def put(image: str, name: str, planes: int, **params) -> None:
        scan = nib.load(server.studies / f"{image}.nii.gz")
        values = np.zeros(scan.shape, np.uint8)
        values[4 : 4 + planes, 4:14, 4:14] = 1
        path = tmp_path / "label.nii.gz"
        nib.Nifti1Image(values, scan.affine).to_filename(path)
        answer = server.put_label(image, path, client_id=name, model=server.baseline, **params)
        assert answer.status_code == 200, answer.text
        saved.add(image)

    yield put
    for image in saved:
        server.remove_label(image)
        server.http.put("/datastore/image/info", params={"image": image}, data={"info": '{"lease": null}'})


def meta(server, image: str) -> dict:
    return server.http.get(f"/datastore/label/info?label={image}&tag=final").json().get("segmentationMeta", {})


def open_case(user, server, image: str) -> None:
    user.connect(server.url)
    user.cases.cases.open(image)
    user.wait()


def rows(table) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def click_row(table, row: int) -> None:
    from PySide6 import QtCore, QtTest

    place = table.visualItemRect(table.item(row, 0)).center()
    QtTest.QTest.mouseClick(table.viewport(), QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, place)


def is_in_every_view(host, ras) -> bool:
    found = []
    for name in ("Red", "Yellow", "Green"):
        matrix = slicer.util.arrayFromVTKMatrix(host.slice_view(name).node.GetSliceToRAS())
        found.append(abs((np.linalg.inv(matrix) @ [*ras, 1.0])[2]) < 1.0)
    return all(found)


def test_a_label_is_approved_with_one_press_and_the_next_one_that_waits_opens(user, server, put, tmp_path):
    first, second = server.images()[:2]
    looked_at = {"seconds": 40.0, "regions": 5, "seen": 3, "not_looked_at": 2, "accepted": 1, "dismissed": 0}
    put(first, "anna", 4, looked_at=looked_at)
    put(second, "bob", 4)
    open_case(user, server, first)
    table = user.cases.ui.casesTable
    user.choose(user.cases.ui.queueComboBox, "to review")
    assert sorted(row[0] for row in rows(table)) == [first, second]
    assert "Label of anna, saved " in user.ui.statusLabel.text
    assert "In 40 s, 3 of 5 regions were looked at, 2 were not." in user.ui.statusLabel.text
    assert user.ui.statusLabel.text.endswith("\nTo review.")
    user.choose(user.ui.levelComboBox, "hard")
    user.ui.commentLineEdit.setText("thin wall")
    user.picture(tmp_path / "review.png")
    user.click(user.ui.approveButton)
    user.wait()
    kept = meta(server, first)
    assert (kept["status"], kept["level"], kept["comment"]) == ("approved", "hard", "thin wall")
    assert (kept["approvedBy"], kept["verified"]) == ("tester", False)
    assert user.session.state.sample.id == second
    assert (user.ui.commentLineEdit.text, user.ui.levelComboBox.currentText) == ("", "not said")
    assert [row[0] for row in rows(table)] == [second]
    user.choose(user.cases.ui.queueComboBox, "approved")
    assert [row[:2] for row in rows(table)] == [[first, "approved"]]
    user.choose(user.cases.ui.queueComboBox, "all cases")


def test_a_label_is_flagged_and_taken_back_and_who_made_it_finds_it(user, server, put):
    image = server.images()[0]
    put(image, "tester", 4)
    open_case(user, server, image)
    user.ui.nextCheckBox.setChecked(False)
    user.ui.commentLineEdit.setText("leaks")
    user.click(user.ui.flagButton)
    user.wait()
    assert (meta(server, image)["status"], user.session.state.sample.id) == ("flagged", image)
    assert "Flagged by tester (not logged in), " in user.ui.statusLabel.text
    for queue, found in (("flagged", [image]), ("to review", []), ("mine", [image])):
        user.choose(user.cases.ui.queueComboBox, queue)
        assert [row[0] for row in rows(user.cases.ui.casesTable)] == found
    user.choose(user.cases.ui.queueComboBox, "all cases")
    user.click(user.ui.toDoButton)
    user.wait()
    assert (meta(server, image)["status"], meta(server, image)["comment"]) == ("", "leaks")


def test_a_label_that_was_saved_since_or_edits_that_were_not_are_not_approved(user, server, put):
    image = server.images()[0]
    put(image, "anna", 4)
    open_case(user, server, image)
    put(image, "bob", 5)
    user.click(user.ui.approveButton)
    user.wait()
    assert user.session.state.is_error
    assert "another label counts since" in user.status
    assert meta(server, image) == {}
    user.session.scene.edited = True
    user.session.changed.emit()
    assert not user.ui.approveButton.isEnabled()
    assert "submit your edits or undo them first" in user.ui.hintLabel.text
    user.session.scene.edited = False


def test_a_version_is_compared_and_restored_once_that_was_agreed(user, host, server, put, tmp_path):
    image = server.images()[0]
    put(image, "anna", 4)
    put(image, "bob", 7)
    open_case(user, server, image)
    voxel_ml = abs(np.linalg.det(nib.load(server.studies / f"{image}.nii.gz").affine[:3, :3])) / 1000
    user.ui.versionsTable.selectRow(1)
    user.click(user.ui.compareButton)
    user.wait()
    [change] = rows(user.ui.changesTable)
    assert change[1:] == [f"{2 * 4 / 11:.3f}", f"{400 * voxel_ml:.2f}", f"{700 * voxel_ml:.2f}"]
    assert f"differ on {300 * voxel_ml:.2f} mL" in user.ui.comparisonLabel.text
    [place] = user.review.logic.comparison.regions
    assert place.bounding_box == ((8, 4, 4), (10, 13, 13))
    click_row(user.ui.differencesTable, 0)
    assert is_in_every_view(host, place.ras_mm)
    other = user.review.logic.other
    assert other.node.GetSegmentation().GetNthSegment(0).GetColor() == (1.0, 1.0, 1.0)
    user.picture(tmp_path / "compared.png")
    host.slice_view("Red").save_png(str(tmp_path / "compared_red.png"))
    user.ui.otherCheckBox.setChecked(False)
    assert not other.node.GetDisplayNode().GetVisibility()

    user.desktop.answers.buttons.append("Cancel")
    user.click(user.ui.restoreButton)
    user.wait()
    assert rows(user.ui.versionsTable)[0][2] == "bob"
    user.desktop.answers.buttons.append("Ok")
    user.click(user.ui.restoreButton)
    user.wait()
    newest = rows(user.ui.versionsTable)[0]
    assert (newest[4], user.review.logic.versions[0].source.split()[0]) == ("counts, to review", "restored")
    assert np.count_nonzero(nib.load(user.session.state.label).dataobj) == 400
    assert user.ui.comparisonLabel.text == ""
    assert not other.is_there


def test_where_readers_disagree_is_a_map_beside_ours_and_a_list_of_places(user, host, server, put, tmp_path):
    image = server.images()[1]
    put(image, "anna", 4)
    open_case(user, server, image)
    user.click(user.ui.readersButton)
    user.wait()
    alone = [reading.reader for reading in user.review.readers.readings.readers]
    if alone == ["anna"]:  # other tests may have left readings of this case
        assert user.ui.readersLabel.text.endswith("Here: anna.")
        assert user.panel.sections["Risk"].ui.mapComboBox.count == 0
    put(image, "bob", 7)
    user.click(user.ui.readersButton)
    user.wait()
    assert " differ on " in user.ui.readersLabel.text
    scene = user.session.scene
    values = slicer.util.arrayFromVolume(scene.maps["reader_disagreement"])
    assert scene.shown == "reader_disagreement"
    assert values.max() == pytest.approx(0.5, abs=1e-4) or len(user.review.readers.readings.readers) > 2
    risk = user.panel.sections["Risk"].ui
    assert risk.mapComboBox.currentText == "Disagreement of readers"
    assert risk.sourceLabel.text.startswith("Half the sum over classes of the readers' variance")
    click_row(user.ui.readersTable, 0)
    assert is_in_every_view(host, user.review.readers.readings.regions[0].ras_mm)
    user.picture(tmp_path / "readers.png")
    host.slice_view("Red").save_png(str(tmp_path / "readers_red.png"))


def test_a_label_that_is_gone_from_the_server_has_no_versions_any_more(session):
    logic, told = LabelReviews(session, bool), []
    row = {"id": 1, "tag": "final", "time": 1.0, "counts": True, "source": "upload"}
    logic._take({"versions": [row]})
    assert logic.current.id == 1
    logic.changed.connect(lambda: told.append(logic.current))
    logic._take({"versions": []})
    assert told == [None]
