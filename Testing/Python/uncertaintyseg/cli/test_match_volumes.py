"""`uncertaintyseg train --match-volumes`: what it did to the volumes is in the report, in words and in JSON."""

from __future__ import annotations

import pytest

from Testing.Python.uncertaintyseg import tiny


@pytest.fixture
def source(tmp_path):
    recipe = {"epochs": 1, "learning_rate": 0.02, "match_volumes": True}
    return tiny.write_bundle(tmp_path / "models", recipe=recipe)


def test_the_report_says_what_matching_did_to_the_volumes(command, source, windows, tmp_path):
    common = (source.name, windows, "--models", source.parent, "--output")
    found = command("train", *common, tmp_path / "runs", "--json").json["volumes"]
    assert found.keys() == {"biases", "before", "after", "validation", "dice_before", "kept"}
    assert found["before"].keys() == found["biases"].keys() == {"organ", "lesion"}
    ended = command("train", *common, tmp_path / "again", "--match-volumes")
    assert "Volumes of the validation cases" in ended.err.replace("\n", " ")
    assert f"organ {found['before']['organ']:+.1%}" in ended.err.replace("\n", " ")


def test_matching_is_left_out_when_told_so(command, source, windows, tmp_path):
    common = (source.name, windows, "--models", source.parent, "--output", tmp_path / "runs")
    assert command("train", *common, "--no-match-volumes", "--json").json["volumes"] is None


def test_the_volumes_of_a_head_on_a_trained_model_are_not_matched(command, models, windows, tmp_path):
    ended = command(
        "train", *models("deterministic"), windows, "--output", tmp_path, "--head", "diagonal", "--match-volumes"
    )
    assert "match the volumes of that model when it is trained" in ended.message
