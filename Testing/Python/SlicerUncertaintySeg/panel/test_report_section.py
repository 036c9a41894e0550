"""The report and the screenshots: what is in the files, and what is not."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
import slicer
from PIL import Image

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.conftest import riskiest_place
from Testing.Python.SlicerUncertaintySeg.review_curve import GUARANTEE
from UncertaintySegLib.panel.report_section import ReportSection
from UncertaintySegLib.server.results import Region, Shape, Structure

STRUCTURES = (
    Structure("organ", 1, 17.214, (16.1, 18.42), "64 samples", 0.042, 0.953, expected_error_ml=0.9),
    Structure("lesion <b>&", 2, 0.52, None, "none", 0.213, None, flag="mean risk above 0.2"),
)
SHAPE = Shape(
    2, (12.34, -5.6, 7.0), ((3, 4, 5), (12, 13, 14)), ((1.5, -20.0, 0.0), (25.5, 10.0, 15.0)), eccentricity=0.8123
)
PROVENANCE = {"model": "phantom_low_rank", "head": "low_rank", "weights_checksum": "ab12cd", "seed": 3}


@pytest.fixture
def section(open_panel, tmp_path, host):
    from slicer_host import desktop

    section = open_panel(ReportSection).sections["Report"]
    section.button.collapsed = False
    desktop.process_events()
    section.ui.folderPathLineEdit.currentPath = str(tmp_path / "reports")
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    return section


@pytest.fixture
def case(show_result, session, host):
    result = show_result(structures=STRUCTURES, provenance=PROVENANCE)
    session.scene.segmentation.CreateClosedSurfaceRepresentation()
    position = riskiest_place(session.scene)
    region = Region(1, "lesion", position, (26, 20, 11), ((20, 15, 9), (30, 25, 13)), 0.8, 0.31, "missed")
    session.state.result = dataclasses.replace(result, regions=(region,))
    return session.state.result


def click(button):
    from PySide6 import QtCore, QtTest

    QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)


def written(tmp_path: Path, ending: str) -> list[Path]:
    return sorted((tmp_path / "reports").glob(f"*{ending}"))


def pictures(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")) for data in found]


def test_the_report_holds_the_numbers_and_the_pictures(section, case, session, tmp_path):
    click(section.ui.reportButton)
    (path,) = written(tmp_path, ".html")
    page = path.read_text(encoding="utf-8")
    assert session.state.message == f"The report is written: {path.with_suffix('.pdf')}"
    for text in ("17.2", "16.1", "18.4", "0.953", "mean risk above 0.2", "ab12cd", "not for clinical decisions"):
        assert text in page
    assert GUARANTEE.text in page
    assert "1. lesion, where too little is labelled: 0.310 mL expected to be wrong of 0.80 mL" in page
    shown = pictures(page)
    assert len(shown) == 6  # the curve, the 3D view, the legend and three planes
    for plane in shown[3:]:
        assert plane.shape[0] == plane.shape[1]
        centre = plane[plane.shape[0] // 2 - 4 : plane.shape[0] // 2 + 5, plane.shape[1] // 2 - 4 :][:, :9].astype(int)
        assert np.ptp(centre, axis=-1).max() > 40, "no risk in the middle of the picture"
    assert "http" not in page.replace("http-equiv", "")


def test_the_risk_volume_comes_first(section, session, show_result, tmp_path):
    show_result(structures=STRUCTURES, remaining_error_ml=1.1)
    click(section.ui.reportButton)
    page = written(tmp_path, ".html")[0].read_text(encoding="utf-8")
    assert page.index("0.90 mL are expected to be wrong") < page.index("Structures, those with the")


def test_the_views_are_afterwards_as_they_were(section, case, host):
    views = [host.slice_view(name) for name in ("Red", "Yellow", "Green")]
    for view in views:
        view.fit()
        view.zoom(1.7)
    before = [view.image() for view in views]
    click(section.ui.reportButton)
    for view, picture in zip(views, before, strict=True):
        np.testing.assert_array_equal(view.image(), picture)


def test_names_from_the_server_are_escaped(section, case, tmp_path):
    click(section.ui.reportButton)
    page = written(tmp_path, ".html")[0].read_text(encoding="utf-8")
    assert "lesion &lt;b&gt;&amp;" in page
    assert "<b>&" not in page


def test_what_the_views_say_of_the_patient_stays_out(section, case, host, tmp_path):
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    click(section.ui.screenshotButton)
    (before,) = [np.asarray(Image.open(path)) for path in written(tmp_path, "_Red.png")]
    view.cornerAnnotation().SetText(2, "DOE^JOHN 1970-01-01")
    assert (host.slice_view("Red").image() != before).any()
    for path in written(tmp_path, ".png"):
        path.unlink()
    click(section.ui.screenshotButton)
    (after,) = [np.asarray(Image.open(path)) for path in written(tmp_path, "_Red.png")]
    np.testing.assert_array_equal(after, before)
    assert view.cornerAnnotation().GetVisibility()
    view.cornerAnnotation().SetText(2, "")


def test_screenshots_are_of_every_view(section, case, session, tmp_path):
    click(section.ui.screenshotButton)
    names = [path.name.rsplit("_", 1)[1] for path in written(tmp_path, ".png")]
    assert {"Red.png", "Yellow.png", "Green.png", "3D.png"} <= set(names)
    assert session.state.message.startswith(f"{len(names)} pictures are written to")
    assert Image.open(written(tmp_path, "_Red.png")[0]).size[0] > 200


def test_uncalibrated_is_said_in_the_report(section, show_result, tmp_path):
    show_result(guarantee=None, guarantee_reason="The weights changed after the calibration.")
    click(section.ui.reportButton)
    page = written(tmp_path, ".html")[0].read_text(encoding="utf-8")
    assert "Uncalibrated: The weights changed after the calibration." in page
    assert "expected remaining error" not in page


def test_a_folder_that_cannot_be_written_to_is_said(section, case, session, tmp_path):
    (tmp_path / "file").write_text("")
    section.ui.folderPathLineEdit.currentPath = str(tmp_path / "file" / "folder")
    click(section.ui.reportButton)
    assert session.state.is_error
    assert "cannot be written: choose another folder" in session.state.message


def test_one_press_writes_into_the_default_folder_as_soon_as_there_is_a_result(
    section, session, show_result, tmp_path, monkeypatch
):
    monkeypatch.setattr(slicer.app, "defaultScenePath", str(tmp_path), raising=False)
    assert not section.ui.reportButton.enabled
    assert not section.ui.screenshotButton.enabled
    section.ui.folderPathLineEdit.currentPath = ""
    show_result()
    click(section.ui.reportButton)
    folder = tmp_path / "UncertaintySeg reports"
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".html", ".pdf"]


def test_looking_only_is_told_to_all_and_remembered(section, session, open_panel):
    heard = []
    session.changed.connect(lambda: heard.append(session.state.read_only))
    section.ui.readOnlyCheckBox.click()
    assert heard == [True]
    assert open_panel(ReportSection).sections["Report"].ui.readOnlyCheckBox.checked
    section.ui.readOnlyCheckBox.setChecked(False)
    assert not session.state.read_only


def test_many_structures_with_long_names_fill_whole_pages(section, show_result, tmp_path):
    long = "left superior pulmonary vein with a name that does not end soon"
    rows = tuple(
        Structure(f"{long}_{i}", i + 1, 12.0 + i, (11.0, 13.5), "", 0.5, 0.9, expected_error_ml=i / 100, flag="small")
        for i in range(60)
    )
    show_result(structures=rows, provenance=PROVENANCE)
    click(section.ui.reportButton)
    page = written(tmp_path, ".html")[0].read_text(encoding="utf-8")
    table = page[page.index("<thead>") :]
    assert table.count(long) == 60
    assert table.index(f"{long} 59") < table.index(f"{long} 0<"), "the worst come first"
    assert written(tmp_path, ".pdf")[0].read_bytes().startswith(b"%PDF")


def test_shapes_are_in_the_page_and_in_the_table_file(section, show_result, tmp_path):
    show_result(structures=(dataclasses.replace(STRUCTURES[0], shape=SHAPE), STRUCTURES[1]))
    click(section.ui.reportButton)
    page = written(tmp_path, ".html")[0].read_text(encoding="utf-8")
    assert "Shapes of what is labelled" in page
    assert "12.3, -5.6, 7.0" in page
    rows = list(csv.reader(written(tmp_path, ".csv")[0].read_text(encoding="utf-8-sig").splitlines()))
    organ, lesion = (next(row for row in rows if row[0] == name) for name in ("organ", "lesion <b>&"))
    place = rows[0].index("Eccentricity")
    assert (organ[place], lesion[place]) == ("0.812", "")
    assert len({len(row) for row in rows}) == 1
