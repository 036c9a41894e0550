"""The user's own models: every command finds them; they can be renamed and removed, shipped ones and bases cannot."""

from __future__ import annotations

import io
import json
import sys

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.inference.bundle import METADATA, Bundle, find_bundles


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An own model folder with one model in it."""
    folder = tmp_path / "own"
    monkeypatch.setenv("UNCERTAINTYSEG_MODELS", str(folder))
    return tiny.give_random_weights(tiny.write_bundle(folder))


def edit_metadata(bundle: Bundle, **section) -> None:
    path = bundle.folder / METADATA
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["uncertainty"] |= section
    path.write_text(json.dumps(metadata))


def test_own_models_are_found_after_the_shipped_ones_and_before_those_of_an_option(command, own, tmp_path):
    assert find_bundles()[own.name].folder == own.folder
    other = tiny.write_bundle(tmp_path / "other")
    assert find_bundles(other.parent)[own.name].folder == other
    assert own.name in {entry["name"] for entry in command("models", "--json").json}


def test_without_own_models_there_are_the_shipped_ones(monkeypatch, tmp_path):
    monkeypatch.setenv("UNCERTAINTYSEG_MODELS", str(tmp_path / "absent"))
    assert "hippocampus_deterministic" in find_bundles()


def test_the_list_says_where_a_model_came_from(command, own):
    edit_metadata(own, origin={"source": "nnunet", "folder": "Dataset004_Hippocampus"}, modality="MR")
    entry = next(entry for entry in command("models", "--json").json if entry["name"] == own.name)
    assert entry["origin"] == {"source": "nnunet", "folder": "Dataset004_Hippocampus"}
    assert entry["modality"] == "MR"


def test_the_list_tells_models_of_ones_own_from_those_of_the_package(command, own):
    lines = command("models").err.splitlines()
    assert [line.count("yours") for line in lines if own.name in line] == [1]
    assert [line.count("this package") for line in lines if "hippocampus_deterministic" in line] == [1]


def test_a_renamed_model_keeps_its_weights(command, own):
    checksum = own.checksum
    assert command("models", "rename", own.name, "better").code == 0
    found = find_bundles()
    assert own.name not in found
    assert found["better"].checksum == checksum


def test_a_removed_model_is_gone(command, own):
    assert command("models", "remove", own.name, "--yes").code == 0
    assert own.name not in find_bundles()
    assert not list(own.folder.parent.iterdir())


def test_removing_asks_first(command, own, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert command("models", "remove", own.name).code != 0
    assert own.name in find_bundles()


@pytest.mark.parametrize("action", [("remove", "--yes"), ("rename", "mine")])
def test_shipped_models_stay(command, own, action):
    verb, more = action
    message = command("models", verb, "hippocampus_deterministic", more).message
    assert "'hippocampus_deterministic' comes with the package" in message
    assert "hippocampus_deterministic" in find_bundles()


@pytest.mark.parametrize("action", [("remove", "--yes"), ("rename", "mine")])
def test_a_base_of_others_stays_and_they_are_named(command, own, action):
    derived = Bundle.load(tiny.write_bundle(own.folder.parent, "low_rank"))
    edit_metadata(derived, base={"name": own.name, "checksum": own.checksum})
    verb, more = action
    assert f"'{own.name}' is the base of {derived.name}" in command("models", verb, own.name, more).message
    assert own.folder.is_dir()


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "$x", "a\nb"])
def test_names_that_cannot_be_one_are_refused(command, own, name):
    ended = command("models", "rename", own.name, name)
    assert ended.code == 2
    assert own.folder.is_dir()


def test_a_name_that_is_taken_is_refused(command, own):
    assert (
        "there is a model 'phantom_low_rank' already"
        in command("models", "rename", own.name, "phantom_low_rank").message
    )


def test_an_unknown_model_is_named_with_those_there_are(command, own):
    message = command("models", "remove", "absent", "--yes").message
    assert "no model 'absent'" in message
    assert own.name in message
