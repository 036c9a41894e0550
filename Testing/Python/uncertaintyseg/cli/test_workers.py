"""`--workers` and `--ray`: the same results as one process makes, and what is said where something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg import tiny

BY_TWO = ("--workers", 2, "--threads", 1)


@pytest.fixture
def data(tmp_path) -> Path:
    tiny.write_phantoms(tmp_path / "data", 4, **tiny.COARSE)
    return tmp_path / "data"


@pytest.fixture
def model(models):
    return models("low_rank", **tiny.COARSE_MODEL)


def run(*arguments: object) -> tuple[int, str, str]:
    """In a process of its own: Ray belongs to the process that it is connected in."""
    command = [sys.executable, "-m", "uncertaintyseg.cli", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=False)
    return result.returncode, result.stdout, result.stderr


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(part) for key, part in value.items() if "seconds" not in key}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.nii.gz"))}


def test_a_folder_is_segmented_by_workers_as_by_one_process(command, data, model, tmp_path):
    name, *more = model
    given = ("predict", name, data / "images", *more, "--json", "--plausible", 2)
    here = command(*given, "--output", tmp_path / "here")
    there = command(*given, "--output", tmp_path / "there", *BY_TWO)
    assert here.code == there.code == 0, there.err
    assert list(there.json) == [f"case_{i}" for i in range(4)]
    found = files_of(tmp_path / "there")
    assert "case_3/plausible_01.nii.gz" in found
    assert found == files_of(tmp_path / "here")
    report = json.loads((tmp_path / "there" / "case_2" / "report.json").read_text())
    assert report["maps"]["error_probability"] == str(tmp_path / "there" / "case_2" / "error_probability.nii.gz")


@pytest.mark.skipif(sys.platform == "win32", reason="no test of Ray there")
def test_ray_makes_the_same_files_and_figures_of_scans_as_bytes(command, data, model, tmp_path):
    pytest.importorskip("ray")
    name, *more = model
    by_ray = ("--ray", "local", "--scans", "bytes", *BY_TWO)
    assert command("predict", name, data, *more, "--output", tmp_path / "here", "--json").code == 0
    code, _, error = run("predict", name, data, *more, "--output", tmp_path / "there", "--json", *by_ray)
    assert code == 0, error
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    report = json.loads((tmp_path / "there" / "case_2" / "report.json").read_text())
    assert report["label"] == str(tmp_path / "there" / "case_2" / "label.nii.gz")
    here = command("evaluate", name, data, *more, "--cases", "all", "--json").json
    code, out, error = run("evaluate", name, data, *more, "--cases", "all", "--json", *by_ray)
    assert code == 0, error
    assert without_seconds(json.loads(out)) == without_seconds(here)


def test_a_scan_that_cannot_be_used_is_named_and_the_next_run_does_it_alone(command, data, model, tmp_path):
    name, *more = model
    broken = data / "images" / "case_1.nii.gz"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    given = ("predict", name, data / "images", *more, "--output", tmp_path / "out", "--json")
    ended = command(*given)
    assert ended.code == 1
    assert sorted(ended.json) == ["case_0", "case_2", "case_3"]
    assert "case_1 was not segmented" in ended.err
    first = (tmp_path / "out" / "case_0" / "report.json").stat().st_mtime_ns
    broken.write_bytes(whole)
    ended = command(*given)
    assert ended.code == 0
    assert len(ended.json) == 4
    assert "3 cases were done by an earlier run of this command" in ended.err
    assert (tmp_path / "out" / "case_0" / "report.json").stat().st_mtime_ns == first
    assert command(*given).code == 0  # a command that was through does all again
    assert (tmp_path / "out" / "case_0" / "report.json").stat().st_mtime_ns > first


def test_what_another_run_wrote_over_is_done_again(command, data, model, tmp_path):
    name, *more = model
    (data / "images" / "case_9.nii.gz").write_bytes(b"cut short")  # so that the first run is not through
    given = ("predict", name, data / "images", *more, "--json", "--output", tmp_path / "out")
    assert command(*given).code == 1
    assert "4 cases were done by an earlier run" in command(*given).err
    assert command(*given, "--method", "tta").code == 1
    again = command(*given)
    assert "were done by an earlier run" not in again.err
    for case, report in again.json.items():
        assert json.loads((tmp_path / "out" / case / "report.json").read_text()) == report


def test_a_label_that_cannot_be_read_ends_an_audit_with_1(command, data, model):
    name, *more = model
    label = data / "labels" / "case_1.nii.gz"
    label.write_bytes(label.read_bytes()[:200])
    ended = command("audit", data, "--model", name, *more, "--json")
    assert ended.code == 1
    assert list(ended.json["failed"]) == ["case_1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--threads", 2), "say how many, with --workers"),
        (("--scans", "bytes"), "is for workers of Ray"),
        (("--device", "cuda:99"), "device 'cuda:99' cannot be used here"),
        (("--device", "cpu,cpu"), "2 devices need --workers 2"),
        (("--device", ","), "names no device"),
        (("--ray", "nowhere"), "HOST:PORT of the head"),
        (("--ray", "127.0.0.1:1"), "nothing answers there"),
        (("--ray", "192.0.2.1:6379"), "Ray's token"),
    ],
)
def test_ways_that_cannot_be_are_one_line(command, data, model, options, message):
    if options[0] == "--ray":
        pytest.importorskip("ray")
    name, *more = model
    assert message in command("evaluate", name, data, *more, "--cases", "all", *options).message


def test_two_devices_are_taken_in_turn(command, data, model):
    name, *more = model
    ended = command("evaluate", name, data, *more, "--cases", "all", "--device", "cpu,cpu", *BY_TWO, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["n"] == 4
