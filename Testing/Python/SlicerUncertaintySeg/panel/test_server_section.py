"""The server section as a person uses it: real widgets, a real child process, a server in a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from Testing.Python.SlicerUncertaintySeg.wire_process import WireServer
from UncertaintySegLib.server.replies import Sample


class User:
    """Clicks and looks."""

    def __init__(self, desktop, panel) -> None:
        self.desktop, self.panel = desktop, panel
        self.section = panel.sections["Server"]
        self.session, self.ui = panel.session, self.section.ui

    def click(self, button) -> None:
        from PySide6 import QtCore, QtTest

        assert button.isEnabled(), button.objectName
        QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def press_return(self, line_edit) -> None:
        from PySide6 import QtCore, QtTest

        QtTest.QTest.keyClick(line_edit, QtCore.Qt.Key_Return)

    def wait(self, condition=None, seconds: float = 180.0) -> None:
        self.desktop.wait_until(condition or (lambda: not self.session.worker.pending), seconds)

    def connect(self, url: str, token: str = "") -> None:
        self.ui.serverLineEdit.setText(url)
        self.ui.tokenLineEdit.setText(token)
        self.click(self.ui.connectButton)
        self.wait()

    @property
    def light(self) -> str:
        return self.section.connection.light.value

    @property
    def text(self) -> str:
        return self.ui.connectionLabel.text

    @property
    def status(self) -> str:
        return self.panel.ui.statusLabel.text


@pytest.fixture
def user(open_panel):
    from slicer_host import desktop
    from UncertaintySegLib.panel.server_section import ServerSection

    return User(desktop, open_panel(ServerSection))


@pytest.fixture
def other_server(wire_manager, phantom_case):
    server = WireServer(wire_manager, phantom_case)
    yield server
    server.close()


@pytest.fixture
def impatient(monkeypatch):
    """Pauses of a tenth."""
    from UncertaintySegLib.logic import connection

    monkeypatch.setattr(connection, "_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(connection, "_FIRST_PAUSE", 0.1)
    monkeypatch.setattr(connection, "_LAST_PAUSE", 0.4)


def test_at_first_nothing_is_connected(user):
    assert (user.light, user.text) == ("off", "Not connected.")
    assert user.ui.connectButton.text == "Connect"
    assert not user.ui.stopButton.enabled


def test_connecting_says_to_what_and_as_whom(user, wire_server):
    user.connect(wire_server.url, token="s3cret")
    assert user.light == "on"
    assert user.text == f"Connected to Uncertainty server 0.1.0 ({wire_server.url}) as anna, annotator."
    assert user.status == user.text
    assert list(user.session.state.info.models) == ["phantom_low_rank", "stock_model"]
    assert user.ui.connectButton.text == "Reconnect"


def test_return_in_a_line_connects(user, wire_server):
    user.ui.serverLineEdit.setText(wire_server.url)
    user.press_return(user.ui.serverLineEdit)
    user.wait()
    assert user.light == "on"


def test_address_token_and_name_are_remembered_and_the_scene_gets_none_of_it(
    user, wire_server, open_panel, host, tmp_path
):
    from UncertaintySegLib.panel.server_section import ServerSection

    user.ui.clientIdLineEdit.setText("anna")
    user.connect(wire_server.url, token="s3cret-t0ken")
    ui = open_panel(ServerSection).sections["Server"].ui
    assert (ui.serverLineEdit.text, ui.tokenLineEdit.text) == (wire_server.url, "s3cret-t0ken")
    assert (ui.clientIdLineEdit.text, user.session.client_id) == ("anna", "anna")
    host.scene.SetURL(str(tmp_path / "scene.mrml"))
    host.scene.Commit()
    assert "s3cret" not in (tmp_path / "scene.mrml").read_text(encoding="utf-8")


def test_the_token_is_hidden_until_one_asks(user):
    from PySide6.QtWidgets import QLineEdit

    assert user.ui.tokenLineEdit.echoMode == QLineEdit.Password
    user.click(user.ui.showTokenButton)
    assert user.ui.tokenLineEdit.echoMode == QLineEdit.Normal
    user.click(user.ui.showTokenButton)
    assert user.ui.tokenLineEdit.echoMode == QLineEdit.Password


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9", "No MONAI Label server answers at http://127.0.0.1:9"),
        ("ftp://server", "should look like http"),
        ("http://seg.example.org", "use its https:// address"),
    ],
)
def test_an_address_that_does_not_work_is_said_in_a_sentence(user, url, said):
    user.connect(url, token="s3cret")
    assert said in user.status
    assert user.light == "off"
    assert user.session.state.info is None
    assert user.ui.connectButton.enabled
    assert said in user.ui.addressProblemLabel.text
    assert user.ui.addressProblemLabel.isVisibleTo(user.panel.widget)
    assert not user.ui.tokenProblemLabel.isVisibleTo(user.panel.widget)
    assert user.panel.widget.focusWidget() is user.ui.serverLineEdit


def test_a_wrong_token_is_said_in_a_sentence(user, wire_server):
    wire_server.refusals["/info/"] = (401, b'{"detail": "this token is not known"}')
    user.connect(wire_server.url, token="wrong")
    said = f"{wire_server.url} asks for a valid access token (this token is not known). Yours is mistyped"
    assert user.status.startswith(said)
    assert user.ui.tokenProblemLabel.text == user.status
    assert user.panel.widget.focusWidget() is user.ui.tokenLineEdit
    wire_server.refusals.clear()
    user.connect(wire_server.url, token="right")
    assert not user.ui.tokenProblemLabel.isVisibleTo(user.panel.widget)


def test_cancelling_the_connection_leaves_it_off(user, wire_server):
    wire_server.delays["/info/"] = 30.0
    user.ui.serverLineEdit.setText(wire_server.url)
    user.click(user.ui.connectButton)
    assert user.light == "connecting"
    user.click(user.panel.ui.cancelButton)
    user.wait()
    assert (user.light, user.status) == ("off", "Cancelled.")


@pytest.mark.parametrize(
    ("version", "heads", "said"),
    [
        ("0.9.3", True, "The server is version 0.9.3, this module is 0.1.0"),
        ("0.1.7", True, "Connected to"),
        ("1.0", False, "This MONAI Label server has no models that know where they are unsure"),
    ],
)
def test_a_server_that_is_not_quite_ours_is_said_so(user, wire_server, version, heads, said):
    info = wire_server.info
    info["version"] = version
    if not heads:
        del info["models"]["phantom_low_rank"]
    wire_server.info = info
    user.connect(wire_server.url)
    assert user.status.startswith(said)
    assert user.light == "on"
    assert bool(user.ui.addressProblemLabel.text) == (not heads)


def test_a_server_of_which_a_device_fails_is_used_and_it_is_said(user, wire_server):
    devices = [{"device": "cuda:0", "set_aside": None}, {"device": "cuda:1", "set_aside": "CUDA error"}]
    wire_server.info = wire_server.info | {"devices": devices}
    user.connect(wire_server.url)
    assert user.light == "on"
    assert user.status.startswith("cuda:1 of the server fails, so it may be slower")


def test_testing_an_address_changes_nothing(user, wire_server):
    user.connect(wire_server.url)
    user.ui.serverLineEdit.setText("http://127.0.0.1:9")
    user.click(user.ui.testButton)
    user.wait()
    assert "No MONAI Label server answers at http://127.0.0.1:9" in user.status
    assert (user.light, user.session.url) == ("on", wire_server.url)
    user.ui.serverLineEdit.setText(wire_server.url)
    user.click(user.ui.testButton)
    user.wait()
    assert user.status.startswith(f"Uncertainty server 0.1.0 ({wire_server.url}) answers in ")


def test_a_server_that_goes_is_noticed_and_found_again(user, wire_server, impatient):
    user.connect(wire_server.url)
    info = user.session.state.info
    wire_server.drops["/"] = 10**6
    user.wait(lambda: user.light == "lost")
    assert user.text.startswith(f"{wire_server.url} is not reachable: trying again in ")
    assert user.session.state.info is info
    assert user.status == f"{wire_server.url} is not reachable: it is tried again by itself."
    assert user.section.button.text == "Server: not reachable"
    wire_server.drops["/"] = 0
    user.wait(lambda: user.light == "on")
    assert user.status == f"{wire_server.url} answers again: go on where you were."


def test_an_error_makes_it_look_at_once(user, wire_server):
    user.connect(wire_server.url)
    wire_server.drops["/"] = 10**6
    user.session.fail("The connection dropped.")
    user.wait(lambda: user.light == "lost")
    assert user.status == "The connection dropped."


def test_another_server_closes_the_case(user, wire_server, other_server, session, phantom_case):
    user.connect(wire_server.url)
    session.open_case(Sample("phantom_1"), phantom_case.scan)
    user.connect(wire_server.url.replace("http://", " ") + "/")
    assert session.state.sample.id == "phantom_1"  # it is the same server
    user.connect(other_server.url)
    assert session.state.sample is None
    assert session.scene.scan is None


def test_a_wrong_address_keeps_the_case(user, wire_server, session, phantom_case):
    user.connect(wire_server.url)
    session.open_case(Sample("phantom_1"), phantom_case.scan)
    user.connect("http://127.0.0.1:9")
    assert user.light == "off"
    assert (session.state.sample.id, session.url) == ("phantom_1", wire_server.url)


def test_another_server_does_not_get_a_case_with_edits(user, wire_server, session, phantom_case):
    user.connect(wire_server.url)
    session.open_case(Sample("phantom_1"), phantom_case.scan)
    session.scene.edited = True
    user.connect("http://127.0.0.1:9")
    assert user.status.startswith(f"phantom_1 has edits that {wire_server.url} has not got: submit them")
    assert (session.state.sample.id, session.url, user.light) == ("phantom_1", wire_server.url, "on")


FAKE = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
print("studies", sys.argv[3], flush=True)
if os.path.basename(sys.argv[3]) == "broken":
    sys.exit("error: the studies folder is broken")
for number in range(700):
    print("line", number, flush=True)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps({"name": "here", "version": "0.1.0", "models": {}}).encode())
time.sleep(0.3)
HTTPServer(("127.0.0.1", int(sys.argv[5])), Handler).serve_forever()
"""


@pytest.fixture
def command(tmp_path) -> str:
    """Stands for `uncertaintyseg`, so that this takes no twenty seconds; the real one is in test_real_server."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return f"{sys.executable} {script}"


def start(user, command: str, studies: Path) -> None:
    user.ui.hereCollapsibleButton.collapsed = False
    user.ui.commandLineEdit.setText(command)
    user.ui.studiesLineEdit.setText(str(studies))
    user.desktop.process_events()  # lays out what was hidden
    user.click(user.ui.startButton)


def test_a_server_on_this_computer_starts_connects_and_stops(user, command, tmp_path):
    start(user, command, tmp_path)
    assert not user.ui.startButton.enabled
    user.wait(lambda: user.light == "on")
    assert user.text.startswith("Connected to here 0.1.0")
    assert user.ui.serverLineEdit.text == user.session.url
    user.click(user.ui.stopButton)
    user.wait(lambda: user.light == "off")
    user.wait(lambda: not user.section.here.running)
    assert user.status == "The server on this computer was stopped."
    assert user.ui.startButton.enabled


def test_its_log_shows_the_last_lines(user, command, tmp_path):
    start(user, command, tmp_path)
    user.wait(lambda: user.light == "on")
    log = user.ui.logPlainTextEdit
    user.wait(lambda: "line 699" in log.toPlainText())
    assert log.blockCount == 500
    assert log.readOnly


def test_a_server_that_does_not_start_shows_its_last_words(user, command, tmp_path):
    (tmp_path / "broken").mkdir()
    start(user, command, tmp_path / "broken")
    user.wait(lambda: not user.section.here.running)
    assert user.status == "The server on this computer has ended: error: the studies folder is broken"
    assert "studies" in user.ui.logPlainTextEdit.toPlainText()


def test_a_command_that_is_missing_says_how_to_get_it(user, tmp_path):
    start(user, "no_such_command", tmp_path)
    assert user.status.startswith("There is no command 'no_such_command' on this computer: install it with")
    assert user.ui.startButton.enabled


def test_closing_the_panel_stops_the_server(user, command, tmp_path):
    start(user, command, tmp_path)
    user.wait(lambda: user.light == "on")
    process = user.section.here._server._process
    user.panel.close()
    assert process.wait(10) != 0 or os.name == "nt"
