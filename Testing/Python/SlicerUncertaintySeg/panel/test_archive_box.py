"""The button that sends label and report to the archive: it asks once, names whose they are, sends what is shown."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("PySide6")

from slicer_host import desktop
from UncertaintySegLib.panel.report_section import ReportSection
from UncertaintySegLib.server.replies import parse_info

ARCHIVE = "https://pacs/dicom-web"


@pytest.fixture
def panel(open_panel, session, wire_server, show_result):
    """A panel with the phantom's result, over a server whose scans come from an archive."""
    panel = open_panel(ReportSection)
    panel.sections["Report"].button.collapsed = False
    session.url = wire_server.url
    session.state.info = dataclasses.replace(parse_info(wire_server.info), archive=ARCHIVE)
    show_result()
    desktop.answers.clear()
    yield panel
    desktop.answers.clear()


@pytest.fixture
def submitted(panel, session, wire_server, phantom_case):
    """The same, its label saved on the server as version 7."""
    saved = []
    arguments = {"image": phantom_case.name, "file": str(phantom_case.label)}
    session.ask("submit", arguments, saved.append)
    desktop.wait_until(lambda: saved)
    session.changed.emit()
    wire_server.archived = {**wire_server.archived, "version": 7}
    return panel


def press(panel, session) -> None:
    """Press the button and wait for the end."""
    from PySide6 import QtCore, QtTest

    button = panel.sections["Report"].ui.archiveButton
    assert button.isVisible()
    assert button.isEnabled()
    session.state.message = ""
    QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)
    desktop.wait_until(lambda: session.state.message and not session.busy)


def reports(wire_server) -> list[tuple]:
    return [upload for upload in wire_server.uploads if upload[1] == "report.pdf"]


def test_it_asks_once_naming_patient_and_archive_and_sends_the_version_with_a_pdf(submitted, session, wire_server):
    desktop.answers.buttons.append("Ok")
    press(submitted, session)
    (question,) = desktop.answers.asked
    assert question == f"Send label and report of Doe, Jane (17) to {ARCHIVE}?\n\nResearch only, not for clinical use."
    ((query, _name, content, _params),) = reports(wire_server)
    assert query == {"version": ["7"]}
    assert content.startswith(b"%PDF-")
    assert len(content) > 20_000  # with its pictures
    said = f"Label and report of Doe, Jane (17) are in the archive {ARCHIVE}. Research only, not for clinical use."
    assert session.state.message == said
    desktop.answers.asked.clear()
    press(submitted, session)  # Escape
    assert "already: they stay as they are" in desktop.answers.asked[0]
    assert len(reports(wire_server)) == 1


def test_whoever_presses_enter_or_escape_has_not_agreed(submitted, session, wire_server, monkeypatch):
    from slicer_host import dialogs

    chosen = []
    exec_ = dialogs.ctkMessageBox.exec_
    monkeypatch.setattr(
        dialogs.ctkMessageBox, "exec_", lambda box: (chosen.append(box.defaultButton().text), exec_(box))[1]
    )
    press(submitted, session)
    assert [text.replace("&", "") for text in chosen] == ["Cancel"]
    assert session.state.message == "Nothing was sent to the archive."
    assert reports(wire_server) == []


def test_a_label_that_is_not_the_saved_one_is_not_reported_on(panel, submitted, session, wire_server):
    scene = session.scene
    ids = scene.label_ids()
    ids[10:12] = 0
    scene.draw(ids)
    press(panel, session)
    assert session.state.message == "The label that is shown is not the one on the server: submit it first."
    wire_server.archived = {**wire_server.archived, "version": None}
    press(panel, session)
    assert "submit it first" in session.state.message
    assert desktop.answers.asked == []
    assert reports(wire_server) == []


def test_a_refusal_is_said_in_the_words_of_the_server(submitted, session, wire_server):
    wire_server.refusals["/uncertainty/v1/cases/"] = (403, b'{"detail": "anna is annotator, this needs reviewer"}')
    press(submitted, session)
    assert session.state.is_error
    assert "this needs reviewer" in session.state.message


def test_without_an_archive_there_is_no_button_but_the_reason(panel, session):
    ui = panel.sections["Report"].ui
    assert ui.archiveLabel.text == f"Archive: {ARCHIVE}. Research only, not for clinical use."
    session.state.info = dataclasses.replace(session.state.info, archive="")
    session.changed.emit()
    assert not ui.archiveButton.isVisible()
    assert ui.archiveLabel.text.startswith("The server's scans are files and come from no archive")
    session.state.info = None
    session.changed.emit()
    assert not ui.archiveButton.isVisible()
    assert not ui.archiveLabel.isVisible()
