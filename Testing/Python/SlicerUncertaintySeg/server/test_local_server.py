"""A server of this computer, started as a real process; a small script stands for the command line of the package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.local_server import LocalServer

LIBRARY = Path(__file__).resolve().parents[4] / "SlicerUncertaintySeg"
SCRIPT = """
import os, subprocess, sys, time
print("serving", *sys.argv[1:], flush=True)
print("home", os.environ.get("PYTHONHOME"), os.environ["MARK"], flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("pids", os.getpid(), child.pid, flush=True)
time.sleep(float(os.environ.get("SECONDS", "60")))
print("the port is taken", end="")
sys.exit(3)
"""


@pytest.fixture
def start(tmp_path):
    script = tmp_path / "serve it.py"
    script.write_text(SCRIPT)
    started = []

    def run(**environment):
        command = f'"{sys.executable}" "{script}"'
        server = LocalServer(command, tmp_path, {"PATH": os.environ["PATH"], "MARK": "mine", **environment})
        started.append(server)
        return server

    yield run
    for server in started:
        server.forget()


def wait_for(condition, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)
    return value


def lines_until(server, start: str) -> list[str]:
    lines: list[str] = []
    wait_for(lambda: lines.extend(server.log_lines()) or any(line.startswith(start) for line in lines))
    return lines


def alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_it_serves_the_folder_on_a_free_port_in_the_environment_given(start, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHOME_OF_SLICER", "x")
    server = start()
    serving, home = lines_until(server, "pids")[:2]
    port = server.url.rsplit(":", 1)[1]
    assert serving == f"serving serve --studies {tmp_path} --port {port}"
    assert home == "home None mine"


def test_stopping_returns_at_once_and_takes_its_children_along(start):
    server = start()
    pids = lines_until(server, "pids")[-1].split()[1:]
    server.stop()
    wait_for(lambda: not server.running)
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_it_does_not_outlive_a_slicer_that_crashed(tmp_path):
    script = tmp_path / "serve.py"
    script.write_text(SCRIPT)
    slicer = f"""
import os, sys, time
sys.path.insert(0, {str(LIBRARY)!r})
from pathlib import Path
from UncertaintySegLib.server.local_server import LocalServer
server = LocalServer({f"{sys.executable} {script}"!r}, Path({str(tmp_path)!r}), {{**os.environ, "MARK": "mine"}})
lines = []
while not (lines and lines[-1].startswith("pids")):
    lines += server.log_lines()
print(lines[-1], server._folder, flush=True)
os.kill(os.getpid(), 9)
"""
    crashed = subprocess.run([sys.executable, "-c", slicer], capture_output=True, encoding="utf-8", timeout=30)
    *pids, folder = crashed.stdout.split()[1:]
    assert len(pids) == 2
    wait_for(lambda: not any(alive(pid) for pid in pids))
    wait_for(lambda: not Path(folder).exists())


def test_a_supervisor_that_is_asked_to_end_takes_the_server_along(start):
    server = start()
    pids = lines_until(server, "pids")[-1].split()[1:]
    os.kill(server._process.pid, signal.SIGTERM)
    wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_server_that_ends_by_itself_leaves_its_last_words(start):
    server = start(SECONDS="0.1")
    lines_until(server, "pids")
    wait_for(lambda: not server.running)
    assert server.log_lines() == ["the port is taken"]


def test_a_command_that_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(ServerError, match=r"There is no command 'no_such_command' on this computer: install it with"):
        LocalServer("no_such_command", tmp_path, {"PATH": os.environ["PATH"]})


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ServerError, match=r"There is no folder '.*nowhere': choose the folder with the scans"):
        LocalServer(sys.executable, tmp_path / "nowhere", {"PATH": os.environ["PATH"]})
