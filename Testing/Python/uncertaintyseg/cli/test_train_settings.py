"""`uncertaintyseg train --set --balance`."""

from __future__ import annotations

import pytest

from Testing.Python.uncertaintyseg import tiny


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


def test_settings_that_cannot_be_are_refused(train):
    assert "leave out one of the two" in train("--set", "epochs=3", "--epochs", "2").message
    assert "recipes have no such setting" in train("--set", "speed=3").message
    assert "such as patience=10" in train("--set", "patience").message
    assert "'recipe.patience'" in train("--set", "patience=0").message
    assert "the structures of" in train("--balance", "heart").message
