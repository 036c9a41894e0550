"""The tests that a user runs in a real Slicer, run in the host: they must fit the panel as it is now."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import unittest
from pathlib import Path

import pytest

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.servers import SERVE
from Testing.Python.uncertaintyseg import tiny

MODULE = Path(__file__).resolve().parents[3] / "SlicerUncertaintySeg"
TESTS = MODULE / "Testing" / "Python"


@pytest.fixture
def server_url(launch, tmp_path) -> str:
    """A server of its own, for a label stays on it."""
    tiny.write_phantoms(tmp_path, 2)
    tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", "low_rank"))
    command = [*SERVE, "--models", str(tmp_path / "models"), "--cache", str(tmp_path / "cache")]
    return launch(command, sorted((tmp_path / "images").glob("*.nii.gz"))).url


@pytest.fixture
def module(host):
    """The whole module, opened."""
    from slicer_host import desktop

    module = desktop.load_module(MODULE / "UncertaintySeg.py")
    yield module
    module.close()


@pytest.mark.skipif(sys.platform == "win32", reason="MONAI Label's server wants POSIX here")
def test_all_self_tests_pass(module, server_url, monkeypatch):
    monkeypatch.setenv("UNCERTAINTYSEG_SERVER", server_url)
    monkeypatch.setenv("UNCERTAINTYSEG_MODEL", "tiny_low_rank")  # the first model is for MR, of which one is warned
    monkeypatch.delenv("UNCERTAINTYSEG_TOKEN", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("all_tests", TESTS / "all_tests.py")
    all_tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(all_tests)
    output = io.StringIO()
    result = unittest.TextTestRunner(output, verbosity=2).run(all_tests.suite(TESTS))
    assert result.wasSuccessful(), output.getvalue()
    assert not result.skipped
    for script in TESTS.glob("*Test.py"):
        assert f"({script.stem}." in output.getvalue()


def test_they_are_started_with_the_slicer_of_the_user(tmp_path):
    runner, slicer = MODULE / "Testing" / "run_in_slicer.py", tmp_path / "Slicer"
    command = [sys.executable, str(runner), "--slicer", str(slicer), "--server", "http://127.0.0.1:8000"]
    missing = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    assert missing.returncode == 2
    assert f"{slicer} cannot be started" in missing.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_their_status_is_that_of_slicer(tmp_path):
    slicer = tmp_path / "Slicer"
    slicer.write_text('#!/bin/sh\necho "$@" "$UNCERTAINTYSEG_SERVER"\nexit 3\n')
    slicer.chmod(0o755)
    runner = MODULE / "Testing" / "run_in_slicer.py"
    command = [sys.executable, str(runner), "--slicer", str(slicer), "--server", "http://server"]
    ended = subprocess.run(command, check=False, capture_output=True, encoding="utf-8")
    assert ended.returncode == 3
    assert f"--additional-module-paths {MODULE} --python-script {TESTS / 'all_tests.py'}" in ended.stdout
    assert ended.stdout.strip().endswith("http://server")
