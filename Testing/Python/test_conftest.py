"""The suite itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from make import PYTEST

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import pytest
from Testing.Python.conftest import pytest_xdist_make_scheduler

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.stem))
"""
TESTS = """
import os
import time

import pytest

@pytest.mark.parametrize("number", range(3))
def test(number):
    time.sleep(0.01)
    if (__name__, number) in (("test_16", 2), ("test_33", 0)):
        os._exit(3)
"""


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_the_tests_of_a_file_stay_in_one_process(request):
    """Else what they share is made once in each: a version of pytest that xdist does not know did that unseen."""
    assert request.node.nodeid.endswith("@test_conftest")


def test_a_process_that_dies_costs_the_test_that_it_died_of_and_no_more(tmp_path):
    """Else what it had finished is handed out again, and the run stands still shortly before its end."""
    (tmp_path / "pytest.ini").write_text("[pytest]")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for number in range(10, 50):
        (tmp_path / f"test_{number}.py").write_text(TESTS)
    command = [sys.executable, *PYTEST, "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 1, run.stdout + run.stderr
    assert "2 failed, 118 passed" in run.stdout
    for died_of in ("test_16.py::test[2]@test_16", "test_33.py::test[0]@test_33"):
        assert f"crashed while running '{died_of}'" in run.stdout
