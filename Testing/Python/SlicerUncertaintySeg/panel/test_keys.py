"""The keyboard alone: a whole case, the palette, the help, and keys that others have as well."""

from __future__ import annotations

import pytest
import slicer

pytest.importorskip("PySide6")

from UncertaintySegLib.logic import keyboard, settings


@pytest.fixture
def typist(user, full_server):
    """Somebody whose address and name are remembered, and who has no mouse."""
    settings.remember("serverUrl", full_server.url)
    user.ui("Server").serverLineEdit.setText(full_server.url)
    user.ui("Server").clientIdLineEdit.setText("anna")
    return user


def press(user, *keys: str) -> None:
    for key in keys:
        user.key(key)
        user.wait()


def test_a_whole_case_without_a_mouse(typist, full_server):
    user, editor = typist, typist.edit.editor
    press(user, "Shift+C", "Ctrl+N", "Shift+R")
    assert user.status == "phantom_1 segmented by phantom_low_rank."
    press(user, "N", "K")
    assert user.ui("Regions").progressLabel.text.startswith("1 of 2 decided")
    press(user, "J", *"LES", "Return", "1")
    assert user.status == "Tools and clicks are for lesion now."
    assert (editor.activeEffect().name, user.ui("Edit").undoButton.text) == ("Paint", "Undo: accept region 1")
    first = user.drawn()
    user.ui("Edit").insideRiskCheckBox.setChecked(False)
    user.desktop.paint(editor, user.ras((10, 10, 5)), 3.0)
    user.desktop.process_events()
    painted = user.drawn()
    assert (painted != first).sum() == (painted == 2).sum() - (first == 2).sum() > 0
    press(user, "Z")
    assert user.status == "Undone: edit of lesion."
    assert (user.drawn() == first).all()
    press(user, "Ctrl+Y", "Ctrl+Z", "Y")
    assert (user.drawn() == painted).all()
    press(user, "Shift+S")
    assert [query["image"] for query, *_ in list(full_server.uploads) if query] == [["phantom_1"]]
    assert user.state.sample.id == "phantom_2"


def test_tab_goes_through_every_table_and_comes_round(typist):
    user = typist
    press(user, "Shift+C")
    for section in user.panel.sections.values():
        section.button.collapsed = False
    first = user.ui("Cases").strategyComboBox
    first.setFocus()
    seen, widget = [], None
    while widget is not first and len(seen) < 300:
        user.key("Tab")
        widget = slicer.util.mainWindow().focusWidget()
        seen.append(widget.objectName)
    assert widget is first
    assert {"casesTable", "nextButton", "taskComboBox", "keysTable", "serverLineEdit"} <= set(seen)


def test_enter_opens_the_case_in_the_table_and_space_presses_a_button(typist):
    user = typist
    press(user, "Shift+C")
    table = user.ui("Cases").casesTable
    table.setFocus()
    press(user, "Down")
    table.setCurrentCell(1, 0)
    press(user, "Return")
    assert user.state.sample.id == table.item(1, 0).text()
    user.ui("Segment").runButton.setFocus()
    press(user, "Space")
    assert user.state.result is not None


def test_space_ticks_a_structure_of_the_run_in_its_table(typist):
    import qt

    user, table = typist, typist.ui("Segment").structuresTable
    press(user, "Shift+C")
    user.panel.sections["Segment"].button.collapsed = False
    user.ui("Segment").runGroupBox.collapsed = False
    user.desktop.process_events()
    table.setFocus()
    table.setCurrentCell(1, 1)
    for state in (qt.Qt.Unchecked, qt.Qt.Checked):
        press(user, "Space")
        assert table.item(1, 1).checkState() == state
    assert user.ui("Segment").structuresLabel.text == "All 2 structures get maps, regions and rows."


def test_the_editors_keys_mean_what_they_mean_in_the_segment_editor(typist):
    user, editor = typist, typist.edit.editor
    press(user, "1")
    assert editor.activeEffect() is None  # nothing to edit yet
    press(user, "Shift+C", "Ctrl+N", "Shift+R")
    tools = []
    for key in ("2", "1", "Space", "1", "Space", "Space", "Esc", "0", "0", "Shift+2"):
        press(user, key)
        tools.append(editor.activeEffect().name if editor.activeEffect() else "")
    assert tools[:7] == ["Erase", "Paint", "Erase", "Paint", "Erase", "Paint", ""]
    assert tools[7:] == ["Fill between slices", "", "Logical operators"]
    segments = []
    for key in ("W", "W", "Q", "Q"):
        press(user, key)
        segments.append(user.scene.segmentation.GetSegmentation().GetSegment(editor.currentSegmentID()).GetName())
    assert segments == ["lesion", "organ", "organ", "organ"]  # Slicer's Q stops at the first


def test_while_somebody_types_keys_are_letters_and_esc_leaves_the_field(typist):
    user = typist
    press(user, "Shift+C")
    field = user.ui("Cases").filterLineEdit
    field.setFocus()
    press(user, "N", "Z", "Ctrl+N")
    assert (field.text, user.state.sample) == ("nz", None)
    press(user, "Esc", "Ctrl+N")
    assert (field.hasFocus(), user.state.sample.id) == (False, "phantom_1")


def test_a_shortcut_that_another_module_left_on_the_window_rests_while_this_one_is_open(typist):
    import qt

    pressed = []
    left = qt.QShortcut(qt.QKeySequence("Ctrl+Z"), slicer.util.mainWindow())
    left.activated.connect(lambda: pressed.append("theirs"))
    panel = typist.panel
    panel.exit()
    typist.key("Ctrl+Z")
    assert pressed == ["theirs"]
    panel.enter()
    for _time in range(2):
        typist.key("Ctrl+Z")
    assert pressed == ["theirs"]
    panel.exit()
    typist.key("Ctrl+Z")
    panel.enter()
    left.setParent(None)
    assert pressed == ["theirs", "theirs"]


def test_a_key_that_something_else_takes_meanwhile_still_works_and_is_named(typist):
    import qt

    press(typist, "Shift+C", "Ctrl+N", "Shift+R", "N", "K")
    taken = [qt.QShortcut(qt.QKeySequence("Z"), slicer.util.mainWindow())]
    for _time in range(2):  # Qt lets both have their turn
        typist.key("Z")
    assert typist.session.history.last == ""
    assert typist.status.startswith("Something else in Slicer has the key Z as well")
    taken[0].setParent(None)


def test_the_help_names_every_key_and_goes_with_the_key_that_brought_it(typist):
    typist.key("?")
    texts = caps(typist.panel.help.dialog)
    assert {key.text for key in keyboard.KEYS} <= set(texts)
    assert {sequence for key in keyboard.KEYS for sequence in key.sequences} <= set(texts)
    for key in ("?", "Esc"):
        typist.key(key)
        assert typist.panel.help.dialog is None
        typist.panel.ui.helpButton.click()
        assert typist.panel.help.dialog.isVisible()
    assert typist.panel.ui.helpButton.toolTip == "Show or hide all keys. Key: ?"


def test_the_report_is_a_key_once_there_is_something_to_report(typist, tmp_path):
    user = typist
    user.ui("Report").folderPathLineEdit.currentPath = str(tmp_path / "reports")
    press(user, "Shift+C", "Ctrl+N", "Shift+P")
    assert not (tmp_path / "reports").exists()
    press(user, "Shift+R", "Shift+P")
    assert len(list((tmp_path / "reports").glob("*.html"))) == 1
    assert user.panel.ui.quickReportButton.toolTip.endswith("Key: Shift+P")


def test_the_palette_is_left_with_esc_and_moves_with_the_arrows(typist):
    user, editor = typist, typist.edit.editor
    press(user, "J")
    assert user.status == "Open a case first."
    press(user, "Shift+C", "Ctrl+N", "Shift+R")
    before = editor.currentSegmentID()
    press(user, "J", "Down", "Esc")
    assert (editor.currentSegmentID(), user.edit.palette.dialog.isVisible()) == (before, False)
    press(user, "J", "Down", "Return")
    assert user.status == "Tools and clicks are for lesion now."
    press(user, "J", "1", "Return")
    assert user.status == "Tools and clicks are for organ now."
    assert user.ui("Regions").structureComboBox.currentText == "1  organ"
    press(user, "J", "0", "Return")
    assert user.ui("Regions").structureComboBox.currentText == "0  background"
    assert user.status == "Clicks say background now."
    assert editor.currentSegmentID() == before


def test_a_changed_key_works_at_once_and_is_named_everywhere(typist):
    user, table = typist, typist.ui("Preferences").keysTable
    press(user, "Shift+C", "Ctrl+N", "Shift+R")
    user.panel.ui.helpButton.click()
    row = next(row for row, key in enumerate(keyboard.KEYS) if key.name == "next_region")
    try:
        table.item(row, 0).setText("Ctrl+J")
        assert user.status == "Ctrl+J: Next region."
        assert user.ui("Regions").nextButton.toolTip.endswith("Key: Ctrl+J")
        assert "Ctrl+J" in caps(user.panel.help.dialog)
        assert "N" not in caps(user.panel.help.dialog)
        user.panel.help.close()
        press(user, "N")
        assert user.regions.regions.current is None
        press(user, "Ctrl+J")
        assert user.regions.regions.current is not None
        table.item(row, 0).setText("")
        assert user.status == "No key any more: Next region."
        assert "Key:" not in user.ui("Regions").nextButton.toolTip
    finally:
        table.item(row, 0).setText("N")


def caps(dialog) -> list[str]:
    from PySide6 import QtWidgets

    return [label.text for label in dialog.findChildren(QtWidgets.QLabel)]
