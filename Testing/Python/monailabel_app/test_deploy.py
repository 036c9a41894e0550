"""The files for systemd and Docker say what the server really takes."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from uncertaintyseg.cli import app

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "uncertaintyseg.service"


@pytest.fixture(scope="module")
def options() -> set[str]:
    """What `uncertaintyseg serve` takes."""
    return {name for option in typer.main.get_command(app).commands["serve"].params for name in option.opts}


@pytest.mark.parametrize("name", ["uncertaintyseg.service", "Dockerfile", "compose.yaml"])
def test_every_option_in_them_exists(options, name):
    text = re.sub(
        r"(?m)^\s*#.*$|HEALTHCHECK.*|RUN (.|\n)*?\n(?=[A-Z])", "", (DEPLOY / name).read_text(encoding="utf-8")
    )
    used = set(re.findall(r"(?<=[\s\"'])--[a-z][\w-]*", text))
    assert used
    assert used <= options


def test_every_option_of_the_page_exists(options):
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    commands = re.findall(r"uncertaintyseg serve [^`]*?(?=\n\n|`)", page)
    used = {option for command in commands for option in re.findall(r"--[a-z][\w-]*", command)}
    assert used
    assert used <= options


def test_the_server_gets_a_user_of_its_own_and_little_else():
    assert re.search(r"(?m)^USER uncertaintyseg$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    unit = UNIT.read_text(encoding="utf-8")
    for line in ("User=uncertaintyseg", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet="):
        assert f"\n{line}\n" in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text(encoding="utf-8").replace("/opt/uncertaintyseg/.venv/bin/uncertaintyseg", sys.executable)
    )
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_health_check_tells_a_server_from_none(server):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    for port, code in ((server.http.base_url.port, 0), (free, 1)):
        assert subprocess.run([sys.executable, DEPLOY / "healthcheck.py", str(port)], check=False).returncode == code
