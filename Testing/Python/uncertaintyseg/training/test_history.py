"""The table and the picture of a fit, and a fit that a real process runs and a signal ends."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.fit import UNFINISHED, fit
from uncertaintyseg.training.history import CURVES, TABLE, History
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.validation import Scores

ROOT = Path(__file__).parents[4]
SETTINGS = {"epochs": 4, "validate_every": 2, "learning_rate": 0.02}
PLANNED = {
    "epochs": 4, "steps_per_epoch": 6, "foreground": 0.3333, "deep_supervision": True, "optimizer": "sgd",
    "learning_rate": 0.01,
}  # fmt: skip
"""What a plan asks for, by stochastic gradient descent."""
_FIT = """
import sys
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.fit import fit

cases = read_cases(sys.argv[1])
fit(Bundle.load(sys.argv[2]), cases[:3], cases[3:5], sys.argv[3])
"""


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cases(windows):
    return read_cases(windows)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return tiny.write_bundle(tmp_path_factory.mktemp("models"), recipe=SETTINGS)


@pytest.fixture(scope="module")
def fitted(source, cases, tmp_path_factory):
    return fit(Bundle.load(source), cases[:3], cases[3:5], tmp_path_factory.mktemp("runs"))


def test_every_epoch_has_a_row_and_every_validation_its_scores(fitted):
    found = rows(fitted.bundle.folder)
    names = [label.name for label in fitted.bundle.labels]
    assert [int(row["epoch"]) for row in found] == [1, 2, 3, 4]
    assert all(float(row["loss"]) > 0 for row in found)
    rates = [float(row["learning_rate"]) for row in found]
    assert rates == sorted(rates, reverse=True)
    assert [bool(row["dice"]) for row in found] == [False, True, False, True]
    best = found[fitted.best_epoch - 1]
    assert float(best["dice"]) == fitted.validation["dice"]
    assert {name: float(best[f"dice {name}"]) for name in names} == fitted.by_structure


def test_the_curves_are_a_picture(fitted):
    with Image.open(fitted.bundle.folder / CURVES) as picture:
        assert picture.size == (1210, 462)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20


def test_a_structure_in_no_validation_case_has_no_dice_and_does_not_spoil_the_mean():
    scores = Scores(classes=3)
    target = torch.zeros(1, 1, 4, 4, 4, dtype=torch.long)
    target[..., :2] = 1
    probability = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    scores.update(probability, target)
    assert scores.compute()["dice"] == 1
    assert scores.by_structure[0] == 1
    assert math.isnan(scores.by_structure[1])


def test_many_structures_are_drawn_without_one_curve_each(tmp_path):
    names = [f"structure {n}" for n in range(117)]
    history = History(tmp_path, names, "dice")
    for epoch in (1, 2):
        history.add(epoch, 1.0 / epoch, 0.1, 2.0)
        history.validated({"dice": 0.4 * epoch, "nll": 1.0}, [math.nan, *np.linspace(0, 0.4 * epoch, 116)])
    history.write()
    history.draw()
    assert rows(tmp_path)[1]["dice structure 0"] == ""
    assert float(rows(tmp_path)[1]["dice structure 116"]) == pytest.approx(0.8)
    assert (tmp_path / CURVES).is_file()


def test_another_fit_does_not_take_over_the_history_of_the_model_it_begins_with(fitted, cases, tmp_path):
    again = fit(fitted.bundle, cases[:1], cases[3:4], tmp_path, recipe=Recipe.load(fitted.bundle, epochs=1))
    assert [row["epoch"] for row in rows(again.bundle.folder)] == ["1"]


def test_a_loss_that_is_no_number_ends_the_fit_and_says_so(source, cases, tmp_path):
    recipe = Recipe.load(Bundle.load(source), learning_rate=1e30)
    with pytest.raises(InputError, match=r"lower 'recipe\.learning_rate'"):
        fit(Bundle.load(source), cases[:3], cases[3:4], tmp_path, recipe=recipe)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a signal of POSIX")
@pytest.mark.parametrize("planned", [False, True])
def test_a_process_killed_again_and_again_ends_with_the_weights_and_history_of_one_that_was_not(
    fitted, source, cases, windows, tmp_path, planned
):
    if planned:
        source = tiny.write_bundle(tmp_path / "models", recipe=PLANNED, filters=(4, 6, 8, 8), window=(16, 16, 8))
        fitted = fit(Bundle.load(source), cases[:3], cases[3:5], tmp_path / "whole")
    output = tmp_path / "killed"

    def start() -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen([sys.executable, "-c", _FIT, windows, source, output], env=environment)

    folder = output / source.name
    for epoch in (2,) if planned else (1, 2):  # while the next epoch runs, or the checkpoint of this one is written
        process, end = start(), time.monotonic() + 300
        while not (_has_row(folder, epoch) or process.poll() is not None) and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start().wait() == 0
    assert not (folder / UNFINISHED).exists()
    assert Bundle.load(folder).checksum == fitted.bundle.checksum
    told = [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder)]
    assert told == [{k: v for k, v in row.items() if k != "seconds"} for row in rows(fitted.bundle.folder)]


def _has_row(folder: Path, epoch: int) -> bool:
    try:
        return len(rows(folder)) >= epoch
    except FileNotFoundError:
        return False
