"""`uncertaintyseg simulate`: figures, curves and a table; a mistake is one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TINY = ["--seeds", 1, "--rounds", 1, "--start", 2, "--step", 1, "--iterations", 1]


@pytest.fixture
def where(models, tmp_path) -> list:
    name, *folder = models()
    return ["--model", name, *folder, "--output", tmp_path / "out", *TINY]


def test_it_writes_figures_and_curves_and_a_second_call_only_reads_them(command, windows, where, tmp_path):
    first = command("simulate", windows, *where, "--strategies", "foreground_random,predictive_entropy", "--json")
    assert first.code == 0, first.err
    assert first.json["labels"] == [2, 3]
    assert first.json["strategies"]["predictive_entropy"]["difference"]["lo"] is None  # one seed has no interval
    assert json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8")) == first.json
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10_000
    cells = {path: path.stat().st_mtime_ns for path in Path(tmp_path).rglob("cell.json")}
    table = command("simulate", windows, *where, "--strategies", "foreground_random,predictive_entropy", "--markdown")
    assert table.out.startswith("| strategy |")
    assert len(table.out.splitlines()) == 4
    assert {path: path.stat().st_mtime_ns for path in cells} == cells


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategies", "random,best"], "no strategy 'best'"),
        (["--strategies", "random,risk_ranking"], "choose a model with a segwithu head"),
        (["--start", 5], "leaves nothing to choose"),
        (["--split", "msd_hippocampus"], "without a label in DATA"),
        (["--strategies", "random", "--device", "warp"], "device 'warp'"),
    ],
)
def test_a_mistake_is_named_before_anything_is_written(command, windows, where, tmp_path, options, message):
    assert message in command("simulate", windows, *where, *options).message
    assert not (tmp_path / "out").exists()


def test_a_head_that_cannot_be_trained_from_nothing_is_refused(command, windows, models, tmp_path):
    name, *folder = models("laplace")
    ended = command("simulate", windows, "--model", name, *folder, "--output", tmp_path / "out", *TINY)
    assert "fitted" in ended.message or "no model" in ended.message
