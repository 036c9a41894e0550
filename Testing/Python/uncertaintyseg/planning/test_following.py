"""What comes after a plan: one list, of what can be run on these cases."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg.planning.found import fingerprint
from uncertaintyseg.planning.following import next_steps, quoted
from uncertaintyseg.planning.plan import make_plan

HIPPOCAMPUS = ((35, 50, 35), (1.0, 1.0, 1.0))


def following(found, models=Path("my models")):
    return next_steps(make_plan(found, "hippo"), found, models)


def words(step):
    return shlex.split(step.command)


def test_all_after_the_second_training_uses_the_head_that_it_trained():
    found = [words(step) for step in following(fingerprint(*HIPPOCAMPUS, count=70))]
    assert [command[1] for command in found] == ["train", "train", "calibrate", "evaluate", "predict", "serve"]
    assert [command[2] for command in found[:2]] == ["hippo_deterministic"] * 2
    assert found[1][found[1].index("--head") + 1] == "low_rank"
    assert [command[2] for command in found[2:5]] == ["hippo_low_rank"] * 3
    assert all(command[command.index("--models") + 1] == "my models" for command in found)


@pytest.mark.parametrize(("cases", "left"), [(67, 10), (66, 9)])
def test_a_calibration_that_would_be_refused_is_told_and_not_proposed(cases, left):
    step = following(fingerprint(*HIPPOCAMPUS, count=cases))[2]
    if left >= 10:
        assert words(step)[1] == "calibrate"
    else:
        assert step.command is None
        assert "9 cases will be left to calibrate on, 10 are needed: from 67 subjects on" in step.why


def test_the_split_beside_the_data_says_how_many_are_left(tmp_path):
    found = fingerprint(*HIPPOCAMPUS)
    ids = [case.id for case in found.cases]
    split = {"train": ids[:8], "validation": ids[8:9], "calibration": ids[9:19], "test": ids[19:]}
    (tmp_path / "uncertaintyseg_split.json").write_text(json.dumps(split))
    step = following(replace(found, dataset=replace(found.dataset, folder=tmp_path)))[2]
    assert words(step)[:4] == ["uncertaintyseg", "calibrate", "hippo_low_rank", str(tmp_path)]


def test_so_few_cases_that_none_is_left_to_test_on_are_not_evaluated():
    calibrate, evaluate = following(fingerprint(*HIPPOCAMPUS, count=6))[2:4]
    assert (calibrate.command, evaluate.command) == (None, None)
    assert calibrate.why.startswith("no cases will be left to calibrate on, 10 are needed")
    assert "from 7 subjects on" in evaluate.why


def test_of_several_channels_a_prediction_names_each_file():
    predict = words(following(fingerprint(*HIPPOCAMPUS, channels=("T1", "T2 FLAIR")))[4])
    assert [predict[at + 1] for at, word in enumerate(predict) if word == "--channel"] == ["T1=FILE", "T2 FLAIR=FILE"]
    assert "SCAN" in words(following(fingerprint(*HIPPOCAMPUS))[4])


def test_a_path_is_one_word_of_the_shell():
    assert shlex.split(quoted("a folder/it's $HOME")) == ["a folder/it's $HOME"]
    assert quoted(Path("runs")) == "runs"
