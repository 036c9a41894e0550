"""Which cases commands take when nobody names them."""

from __future__ import annotations

import json

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.cli.parts import SPLIT
from uncertaintyseg.data.splitting import KEPT, make_split, read_split

EIGHT = [f"case_{i}" for i in range(8)]


@pytest.fixture
def data(tmp_path):
    tiny.write_phantoms(tmp_path / "data", 8)
    return tmp_path / "data"


@pytest.fixture
def trained(command, models, data, tmp_path):
    """A model that was trained without naming cases: its name, and the options that find it."""
    name, *where = models()
    ended = command("train", name, data, *where, "--epochs", 1, "--output", tmp_path / "runs")
    assert (ended.code, ended.out) == (0, "")
    assert "5 train, 1 validation, 1 calibration, 1 test, by subject" in " ".join(ended.err.split())
    return name, "--models", tmp_path / "runs"


def test_what_was_trained_on_neither_calibrates_nor_tests(command, trained, data, tmp_path):
    name, *where = trained
    parts = make_split(EIGHT)
    assert read_split(data / KEPT) == parts == read_split(tmp_path / "runs" / name / SPLIT)
    found = command("evaluate", name, data, *where, "--json").json
    assert [case["id"] for case in found["cases"]] == parts["test"]
    assert command("evaluate", name, data, *where, "--cases", "all", "--json").json["n"] == 8
    mine = {"train": EIGHT[:1], "validation": EIGHT[1:2], "calibration": EIGHT[2:7], "test": EIGHT[7:]}
    (data / KEPT).write_text(json.dumps(mine))
    message = command("calibrate", name, data, *where).message
    assert "needs 10 labelled cases at least, not 5" in message
    assert all(way in message for way in ("--cases, as a file of ids", "--split", "--cases all takes them all, but"))
    assert "not 8" in command("calibrate", name, data, *where, "--cases", "all").message  # which is the cases' own lack


def test_a_model_remembers_its_split_where_none_could_be_kept_beside_the_data(command, trained, data):
    name, *where = trained
    (data / KEPT).unlink()
    assert command("evaluate", name, data, *where, "--json").json["n"] == 1
    for folder in ("images", "labels"):
        for path in list((data / folder).iterdir()):
            path.rename(path.with_name(f"other_{path.name}"))
    assert command("evaluate", name, data, *where, "--json").json["n"] == 8  # cases it has never seen


def test_a_split_without_calibration_cases_says_the_way_out(command, trained, data):
    name, *where = trained
    parts = {"train": EIGHT[:7], "validation": EIGHT[7:], "calibration": [], "test": []}
    (data / KEPT).write_text(json.dumps(parts))
    assert "its split has no calibration cases" in command("calibrate", name, data, *where).message
    assert "--cases all" in command("evaluate", name, data, *where).message


def test_a_named_split_is_not_written_beside_the_data(command, models, data, tmp_path):
    name, *where = models()
    (tmp_path / "mine.json").write_text(
        json.dumps({"train": EIGHT[:2], "validation": EIGHT[2:3], "calibration": [], "test": []})
    )
    options = ["--epochs", 1, "--output", tmp_path / "runs", "--split", tmp_path / "mine.json"]
    assert command("train", name, data, *where, *options).code == 0
    assert not (data / KEPT).exists()
    assert not (tmp_path / "runs" / name / SPLIT).exists()


def test_a_named_split_with_a_subject_on_both_sides_is_told(command, models, data, tmp_path):
    name, *where = models()
    for number in range(3):
        for folder in ("images", "labels"):
            (data / folder / f"case_{number}.nii.gz").rename(data / folder / f"p1_visit{number}.nii.gz")
    (tmp_path / "mine.json").write_text(
        json.dumps({"train": ["p1_visit0", "p1_visit1"], "validation": ["p1_visit2"], "calibration": [], "test": []})
    )
    options = ["--epochs", 1, "--output", tmp_path / "runs", "--split", tmp_path / "mine.json"]
    ended = command("train", name, data, *where, *options)
    assert ended.code == 0, ended.err
    assert "Cases of p1 are learnt from and validated on" in " ".join(ended.err.split())
