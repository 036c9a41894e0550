"""What is set once stays set, and a key can be changed."""

from __future__ import annotations

import pytest
import slicer

from UncertaintySegLib.logic import keyboard, settings


@pytest.fixture
def section(session, open_panel):
    from UncertaintySegLib.panel.preferences_section import PreferencesSection

    slicer.app.userSettings().clear()
    panel = open_panel(PreferencesSection)
    yield panel.sections["Preferences"]
    slicer.app.userSettings().clear()


def test_what_is_set_is_remembered(section):
    section.ui.autosaveSpinBox.setValue(45)
    section.ui.opacitySpinBox.setValue(0.35)
    section.ui.refitAfterSubmitCheckBox.setChecked(True)
    assert settings.value("autosaveSeconds") == 45
    assert settings.value("opacity") == pytest.approx(0.35)
    assert settings.value("refitAfterSubmit") is True


def test_every_key_is_listed_with_what_it_does(section):
    table = section.ui.keysTable
    rows = [(table.item(row, 0).text(), table.item(row, 1).text()) for row in range(table.rowCount)]
    assert rows == [(key.sequence, key.text) for key in keyboard.KEYS]
    assert ("N", "Next region") in rows


def row_of(name: str) -> int:
    return next(row for row, key in enumerate(keyboard.KEYS) if key.name == name)


def test_a_key_can_be_changed_to_another_to_several_and_to_none(section):
    row = row_of("next_region")
    item, key = section.ui.keysTable.item(row, 0), keyboard.KEYS[row]
    for typed, kept in (("ctrl+j", "Ctrl+J"), ("ctrl+j;  x", "Ctrl+J; X"), ("", "")):
        item.setText(typed)
        assert (item.text(), key.sequence) == (kept, kept)
    assert not section.session.state.is_error


@pytest.mark.parametrize(
    ("typed", "reason"),
    [("K", "'K' is taken: Accept: the label is OK here."), ("no such key", "'no such key' is no key."),
     ("X; Ctrl+Z", "'X; Ctrl+Z' is taken: Undo the last decision, click or edit.")],
)  # fmt: skip
def test_a_key_that_is_taken_or_none_is_put_back_with_a_reason(section, typed, reason):
    item = section.ui.keysTable.item(row_of("next_region"), 0)
    item.setText(typed)
    assert (item.text(), section.session.state.message) == ("N", reason)


def test_a_key_that_others_in_slicer_have_is_taken_with_a_warning(section):
    item = section.ui.keysTable.item(row_of("map"), 0)
    item.setText("V")
    assert item.text() == "V"
    assert section.session.state.message == (
        "V is a key of the slice views, too (show the slice in 3D): while this module is open it does what you chose."
    )


def test_downloads_are_removed_but_the_open_result_stays(section, session):
    for key in ("open", "old"):
        folder = session.folder / "results" / key
        folder.mkdir(parents=True)
        (folder / "map.nii").write_bytes(b"x" * 2_000_000)
    session.state.base = type("Result", (), {"key": "open"})()
    section.ui.removeDownloadsButton.click()
    assert not (session.folder / "results" / "old").exists()
    assert (session.folder / "results" / "open" / "map.nii").is_file()
    assert session.state.message == "2 MB of downloads are removed."
    session.state.base = None


def test_every_open_panel_hears_of_a_changed_key_and_a_closed_one_of_none(section, open_panel):
    from UncertaintySegLib.panel.preferences_section import PreferencesSection
    from UncertaintySegLib.panel.regions_section import RegionsSection

    other, closed = open_panel(PreferencesSection, RegionsSection), open_panel(PreferencesSection)
    closed.close()
    row = row_of("next_region")
    section.ui.keysTable.item(row, 0).setText("Ctrl+J")
    assert other.sections["Preferences"].ui.keysTable.item(row, 0).text() == "Ctrl+J"
    assert other.sections["Regions"].ui.nextButton.toolTip.endswith("Key: Ctrl+J")
    assert closed.sections["Preferences"].ui.keysTable.item(row, 0).text() == "N"
    assert other.session.state.message == "Ctrl+J: Next region."
