"""`uncertaintyseg train --cache`: where preprocessed cases are, in words and in JSON."""

from __future__ import annotations

import pytest

from Testing.Python.uncertaintyseg import tiny


@pytest.fixture
def common(tmp_path, windows):
    source = tiny.write_bundle(tmp_path / "models", recipe={"epochs": 1})
    return source.name, windows, "--models", source.parent, "--output"


def test_a_training_says_where_its_cases_are_on_disk_and_how_large_they_are(command, common, tmp_path):
    folder = tmp_path / "cases"
    ended = command("train", *common, tmp_path / "runs", "--cache", "disk", "--cache-folder", folder)
    assert ended.code == 0, ended
    assert f"on disk (as asked), in {folder}" in ended.err
    found = command("train", *common, tmp_path / "again", "--cache", "disk", "--cache-folder", folder, "--json").json
    assert found["cache"].items() >= {"kind": "disk", "why": "as asked", "folder": str(folder)}.items()
    memory = command("train", *common, tmp_path / "memory", "--cache", "memory", "--json").json
    assert memory["cache"]["kind"] == "memory"
    assert memory["checksum"] == found["checksum"]


def test_small_cases_are_held_in_memory_without_being_asked(command, common, tmp_path):
    ended = command("train", *common, tmp_path / "runs")
    assert "were held in memory (" in ended.err
    assert "that are free)" in ended.err


def test_a_folder_for_cases_that_are_not_on_disk_is_refused(command, common, tmp_path):
    ended = command("train", *common, tmp_path / "runs", "--cache", "none", "--cache-folder", tmp_path)
    assert "--cache none puts none there" in ended.message
