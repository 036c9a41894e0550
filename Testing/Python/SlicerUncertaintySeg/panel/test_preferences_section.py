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


def test_a_key_can_be_changed(section):
    section.ui.keysTable.item(0, 0).setText("ctrl+j")
    assert keyboard.KEYS[0].sequence == "Ctrl+J"
    assert section.ui.keysTable.item(0, 0).text() == "Ctrl+J"
    section.ui.keysTable.item(0, 0).setText("")
    assert keyboard.KEYS[0].sequence == ""


@pytest.mark.parametrize("typed", ["P", "no such key"])
def test_a_key_that_is_taken_or_none_is_put_back_with_a_reason(section, typed):
    section.ui.keysTable.item(0, 0).setText(typed)
    assert section.ui.keysTable.item(0, 0).text() == "N"
    assert section.session.state.is_error
    assert typed in section.session.state.message


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
