"""The folders of servers that ended long ago go; those of living ones, of the last month, and of others stay."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from monailabel_app.app_folder import LOCK, hold, remove_old
from Testing.Python.servers import ROOT, environment, find_free_port

DAYS = 24 * 3600.0


@pytest.fixture
def state(tmp_path) -> Path:
    return tmp_path / "state"


def left_by(state: Path, name: str, days: float, *, program: str = "main.py") -> Path:
    """A folder as a server leaves it, whose newest file is so old."""
    folder = state / name
    (folder / "logs").mkdir(parents=True)
    for file in (folder / program, folder / "logs" / "app.log"):
        file.write_text("")
        os.utime(file, 2 * (time.time() - days * DAYS,))
    return folder


def test_the_folder_of_a_server_that_ended_long_ago_goes_and_no_other(state, tmp_path):
    old = left_by(state, f"server-{find_free_port()}", 40)
    used = [
        left_by(state, f"server-{find_free_port()}", 20),
        left_by(state, "server-x", 40),
        left_by(state, f"server-{find_free_port()}", 40, program="other.py"),
        left_by(state, "audit", 40),
    ]
    elsewhere = left_by(tmp_path, "elsewhere", 40)
    link = state / f"server-{find_free_port()}"
    link.symlink_to(elsewhere)
    mine = left_by(state, f"server-{find_free_port()}", 40)
    remove_old(state, keep=mine)
    assert not old.exists()
    assert all((folder / "logs" / "app.log").is_file() for folder in (*used, elsewhere, link, mine))


def test_one_whose_server_lives_stays_however_old_its_log_is(state, tmp_path):
    held = left_by(state, f"server-{find_free_port()}", 40)
    program = (
        "import sys, pathlib; from monailabel_app.app_folder import hold; "
        "lock = hold(pathlib.Path(sys.argv[1])); print(lock is not None, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(held)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment(tmp_path), **pipes) as server:
        assert server.stdout.readline() == "True\n"
        assert hold(held) is None
        remove_old(state, keep=state)
        assert (held / LOCK).is_file()
        server.kill()
    remove_old(state, keep=state)
    assert not held.exists()


def test_one_of_an_older_version_which_holds_no_lock_stays_while_its_port_is_taken(state):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        folder = left_by(state, f"server-{server.getsockname()[1]}", 40)
        remove_old(state, keep=state)
        assert folder.is_dir()
    remove_old(state, keep=state)
    assert not folder.exists()
