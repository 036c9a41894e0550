from __future__ import annotations

import sys

import pytest

from UncertaintySegLib.server.interpreter import slicer_python


def program(folder, name: str) -> str:
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return str(file)


def test_without_slicer_it_is_this_python(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slicer_python() == sys.executable


def test_in_slicer_it_is_the_interpreter_beside_the_launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    launcher = program(tmp_path, "PythonSlicer")
    assert slicer_python() == launcher
    assert slicer_python() != program(tmp_path, "python-real")
    assert slicer_python() == str(tmp_path / "python-real")


def test_without_slicers_environment_it_is_the_launcher_that_sets_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYTHONHOME", raising=False)
    launcher = program(tmp_path, "PythonSlicer")
    program(tmp_path, "python-real")
    assert slicer_python() == launcher


def test_slicer_itself_is_never_started_as_if_it_were_python(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/Slicer/bin/SlicerApp-real")
    with pytest.raises(FileNotFoundError, match="no PythonSlicer beside"):
        slicer_python()
