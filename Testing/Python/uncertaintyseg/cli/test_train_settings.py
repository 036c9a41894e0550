"""`uncertaintyseg train --set --balance`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.inference.bundle import TRAINING


@pytest.fixture
def train(command, windows, tmp_path):
    source = tiny.write_bundle(tmp_path / "models", recipe={"epochs": 1})

    def run(*flags: str, output: str = "runs"):
        return command("train", source.name, windows, "--models", source.parent, "--output", tmp_path / output, *flags)

    return run


def test_a_setting_and_rare_structures_change_what_is_learnt(train):
    def checksum(name: str, *flags: str) -> str:
        return train("--set", "objective=hybrid", *flags, "--json", output=name).json["checksum"]

    plain = checksum("plain")
    assert checksum("weighted", "--set", "focal_alpha=[1,2,30]") != plain
    assert checksum("balanced", "--balance", "lesion") != plain
    assert checksum("again") == plain


def test_a_loss_is_kept_for_the_next_training_whichever_flag_said_it(train):
    flags = ("--objective", "expected_ce", "--estimator", "mc", "--samples", "2")
    folders = [train(*flags, "--json", output="flags").json["folder"]]
    same = [
        word for name, value in zip(flags[::2], flags[1::2], strict=True) for word in ("--set", f"{name[2:]}={value}")
    ]
    folders.append(train(*same, "--json", output="set").json["folder"])
    one, other = (json.loads((Path(folder) / TRAINING).read_text(encoding="utf-8"))["recipe"] for folder in folders)
    assert one == other
    assert (one["objective"], one["estimator"], one["samples"]) == ("expected_ce", "mc", 2)


def test_a_setting_that_nothing_reads_is_refused_with_the_one_that_it_needs(train):
    assert "add --balance NAME" in train("--set", "rare_weight=5").message
    assert "add --set schedule=cosine" in train("--set", "final_learning_rate=1e-4").message
    assert "add --objective hybrid" in train("--set", "focal_gamma=2").message
    assert "add --objective hybrid" in train("--set", "class_weights=inverse_frequency").message


def test_settings_that_cannot_be_are_refused(train):
    assert "leave out one of the two" in train("--set", "epochs=3", "--epochs", "2").message
    assert "recipes have no such setting" in train("--set", "speed=3").message
    assert "such as patience=10" in train("--set", "patience").message
    assert "'recipe.patience'" in train("--set", "patience=0").message
    assert "the structures of" in train("--balance", "heart").message
