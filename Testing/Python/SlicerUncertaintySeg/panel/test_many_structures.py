"""The table and the choices of a result with as many structures as a body has."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.panel.risk_user import User
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.server.results import Structure

COUNT = 117


def row(number: int, name: str) -> Structure:
    """The more wrong, the higher its number; nothing is known of the last one."""
    return Structure(name, number, 10.0, expected_error_ml=number / 10 if number < COUNT else None)


@pytest.fixture
def user(open_panel, show_result):
    from slicer_host import desktop

    user = User(desktop, open_panel(RiskSection))
    names = ["kidney_left", "kidney_right", *(f"vertebra {n}" for n in range(3, COUNT + 1))]
    show_result(structures=tuple(row(number, name) for number, name in enumerate(names, start=1)))
    yield user
    user.section.close()


def visible(user) -> list[str]:
    table = user.ui.structuresTable
    return [name for place, name in enumerate(user.column(0)) if not table.isRowHidden(place)]


def test_what_is_most_wrong_comes_first_and_what_is_not_known_last(user):
    assert user.column(0)[:2] == ["vertebra 116", "vertebra 115"]
    assert user.column(0)[-2:] == ["kidney_left", "vertebra 117"]


def test_the_filter_leaves_those_with_its_words_whatever_the_order(user):
    user.ui.structuresFilterLineEdit.setText("Kidney LEFT")
    assert visible(user) == ["kidney_left"]
    user.ui.structuresFilterLineEdit.setText("kidney")
    assert visible(user) == ["kidney_right", "kidney_left"]
    user.ui.structuresTable.horizontalHeader().sectionClicked.emit(0)
    assert visible(user) == ["kidney_left", "kidney_right"]
    user.ui.structuresFilterLineEdit.setText("")
    assert len(visible(user)) == COUNT


@pytest.mark.parametrize("reviewed", [False, True])
def test_the_columns_fit_the_panel_whatever_the_names_and_numbers(user, show_result, reviewed):
    known = {"excess_error_ml": 123.4, "anomaly_score": 0.123} if reviewed else {"volume_ml_95": (1013.0, 1272.0)}
    name = "left_atrial_appendage_with_a_name_that_does_not_end_soon_{}"
    one = Structure(name, 0, 1126.0, None, "", 0.123, 0.912, "", 608.0, flag="why")
    numbers = range(1, COUNT + 1)
    show_result(structures=tuple(dataclasses.replace(one, id=n, name=name.format(n), **known) for n in numbers))
    user.desktop.process_events()
    table = user.ui.structuresTable
    assert table.horizontalHeader().length() <= table.viewport().width
    assert table.columnWidth(0) >= 100
    headings = [table.horizontalHeaderItem(place).text() for place in range(table.columnCount)]
    assert headings[:3] == ["Structure", "Error,\nmL", "Volume,\nmL"]
    tooltip = table.item(0, 0).toolTip()
    assert "Dice: 0.912" in tooltip
    assert "Mean risk: 0.123" in tooltip
    assert reviewed or "Volume, mL [95 %]: 1126 [1013, 1272]" in tooltip


def test_few_structures_need_no_filter(user, show_result):
    assert user.ui.structuresFilterLineEdit.isVisible()
    show_result(structures=(row(1, "organ"), row(2, "lesion")))
    assert not user.ui.structuresFilterLineEdit.isVisible()
    assert user.column(0) == ["lesion", "organ"]


def test_a_structure_is_found_by_typing_a_part_of_its_name(user):
    from PySide6 import QtCore, QtTest

    box = user.ui.structureComboBox
    box.lineEdit().selectAll()
    QtTest.QTest.keyClicks(box.lineEdit(), "ey_ri")
    popup = box.completer().popup()
    assert [popup.model().index(place, 0).data() for place in range(popup.model().rowCount())] == ["2  kidney_right"]
    QtTest.QTest.keyClick(popup, QtCore.Qt.Key_Down)
    QtTest.QTest.keyClick(popup, QtCore.Qt.Key_Return)
    assert user.section.logic.structure == "kidney_right"
    assert not box.lineEdit().hasFocus()
    box.lineEdit().setText("nonsense")
    box.lineEdit().editingFinished.emit()
    assert box.currentText == "2  kidney_right"
    assert user.section.logic.structure == "kidney_right"
