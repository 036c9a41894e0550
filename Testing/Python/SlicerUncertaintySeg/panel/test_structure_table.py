"""The table of structures in the Risk section: what it says, how it is sorted, and what a click on a row shows."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg import wire_answers as wire
from Testing.Python.SlicerUncertaintySeg.panel.risk_user import User
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.scene import masks
from UncertaintySegLib.server.results import Region, Structure, parse_result

VIEWS = ("Red", "Yellow", "Green")


@pytest.fixture
def user(open_panel, host):
    from slicer_host import desktop

    for name in VIEWS:
        host.slice_view(name)
    user = User(desktop, open_panel(RiskSection))
    yield user
    user.section.close()


@pytest.fixture
def result(user, session, phantom_case, show_result):
    """The phantom, segmented, its error probability over the scan."""
    parsed = parse_result(wire.result("k3y", [vars(label) for label in phantom_case.labels], []))
    show_result(structures=parsed.structures)
    user.desktop.process_events()
    return session.state.result


def test_the_table_says_volume_interval_risk_and_flag(user, result):
    table = user.ui.structuresTable
    assert [user.column(column) for column in range(5)] == [
        ["organ", "⚠ lesion"],
        ["-", "-"],
        ["17.2 [16.1, 18.4]", "0.52"],
        ["0.042", "0.213"],
        ["0.953", "-"],
    ]
    assert [table.verticalHeaderItem(row).text() for row in range(2)] == ["1", "2"]
    tip = table.item(0, 0).toolTip()
    assert tip.startswith(
        "organ, label 1\nVolume, mL [95 %]: 17.2 [16.1, 18.4]\nMean risk: 0.042\nDice: 0.953\nPieces: 2\n"
    )
    assert tip.endswith("\n79 coherent samples\nDice: mean over 79 drawn shapes")
    assert "lesion, label 2\nmean risk above 0.2\n" in table.item(1, 0).toolTip()
    assert table.item(1, 0).toolTip().endswith("\nnone: this head has no coherent samples")


def test_the_columns_of_a_review_take_the_room_of_others(user, result, session):
    rows = tuple(dataclasses.replace(row, excess_error_ml=0.31, anomaly_score=0.2) for row in result.structures)
    session.show_result(dataclasses.replace(result, key="k4", structures=rows), None, {}, base=result)
    table = user.ui.structuresTable
    headings = [table.horizontalHeaderItem(place).text().split("\n")[0] for place in range(table.columnCount)]
    assert headings == ["Structure", "Error,", "Volume,", "Excess,", "Ano-"]
    assert user.column(3) == ["0.31", "0.31"]


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_the_order(user, result):
    header = user.ui.structuresTable.horizontalHeader()
    header.sectionClicked.emit(2)
    assert user.column(0) == ["⚠ lesion", "organ"]
    header.sectionClicked.emit(2)
    assert user.column(0) == ["organ", "⚠ lesion"]
    header.sectionClicked.emit(4)
    header.sectionClicked.emit(4)
    assert user.column(4) == ["0.953", "-"], "what is unknown comes last"


def test_a_click_looks_at_the_riskiest_place(user, result, session, host):
    user.click_cell(1)
    views = [host.slice_view(name) for name in VIEWS]
    lesion = masks.structure_mask(user.scene.segmentation, 2, user.scene.scan)
    expected = masks.highest_place(lesion, user.scene.scan, user.scene.maps["error_probability"])
    for view in views:
        row, column = view.pixel_of(expected)
        assert abs(row - 225) <= 2
        assert abs(column - 250) <= 2
    region = Region(1, "lesion", (12.0, -9.0, 30.0), (1, 2, 3), ((0, 0, 0), (1, 1, 1)), 0.1, 0.05)
    session.state.result = dataclasses.replace(result, regions=(region,))
    session.changed.emit()
    user.click_cell(1)
    row, column = views[0].pixel_of(region.ras_mm)
    assert abs(row - 225) + abs(column - 250) <= 4, "the server's worst region comes first"


def test_a_double_click_shows_a_structure_alone_and_again_all(user, result):
    display = user.scene.segmentation.GetDisplayNode()
    segment_ids = [masks.segment_of(user.scene.segmentation, label_id) for label_id in (1, 2)]
    user.click_cell(1, twice=True)
    assert [display.GetSegmentVisibility(segment_id) for segment_id in segment_ids] == [False, True]
    user.click_cell(1, twice=True)
    assert [display.GetSegmentVisibility(segment_id) for segment_id in segment_ids] == [True, True]


def test_sixty_structures_with_long_names_scroll_and_nothing_is_cut_off(user, result, session, tmp_path):
    rows = tuple(
        Structure(f"left_upper_lobe_of_a_very_long_name_{n}", n, 1500.0 - n, (1400.0, 1600.0), "", 0.1, 0.9, 12.3)
        for n in range(1, 61)
    )
    session.show_result(dataclasses.replace(result, structures=rows), None, {})
    user.desktop.process_events()
    table = user.ui.structuresTable
    assert table.rowCount == 60
    assert table.verticalScrollBar().maximum > 0
    assert table.horizontalScrollBar().maximum == 0
    assert table.item(0, 0).toolTip().startswith("left_upper_lobe_of_a_very_long_name_1")
    for label in (user.ui.thresholdLabel, user.ui.boundaryLabel, user.ui.annotatorLayoutButton, user.ui.shapesButton):
        assert label.width >= label.fontMetrics().horizontalAdvance(label.text)
    user.picture(tmp_path / "sixty.png")
