"""A model in use learns from new labels, and stays as it is when that does not help."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from Testing.Python.uncertaintyseg.tiny import write_bundle
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import TRAINING, Bundle, find_bundle
from uncertaintyseg.training.retrain import retrain
from uncertaintyseg.training.validation import validate
from uncertaintyseg.training.versions import list_versions


@pytest.fixture
def parts(windows):
    cases = read_cases(windows)
    return cases[:3], cases[3:5]


def changed(before: Bundle, after: Bundle) -> set[str]:
    """First names of the tensors that differ."""
    old, new = load_file(before.weights), load_file(after.weights)
    return {name.split(".")[0] for name in old if not np.array_equal(old[name], new[name])}


def test_better_weights_are_published_with_what_is_known_of_them(tiny_bundle, parts, tmp_path):
    bundle = tiny_bundle("low_rank")
    stages = []
    result = retrain(bundle, *parts, tmp_path / "home", epochs=2, progress=lambda *stage: stages.append(stage))
    published = find_bundle(bundle.name, tmp_path / "home")
    assert result.published
    assert result.record == list_versions(published)[-1]
    assert result.record.checksum == published.checksum
    assert result.record.after == validate(published, parts[1])
    assert result.record.before == validate(bundle, parts[1])
    assert changed(bundle, published) == {"backbone", "head"}
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert not list((tmp_path / "home" / ".candidates").iterdir())


def test_a_head_learns_and_leaves_the_backbone_alone(tiny_bundle, parts, tmp_path):
    bundle = tiny_bundle("low_rank")
    assert retrain(bundle, *parts, tmp_path / "home", scope="head", epochs=2).published
    assert changed(bundle, find_bundle(bundle.name, tmp_path / "home")) == {"head"}


def test_a_head_learns_by_adamw_where_the_whole_learns_by_sgd(tiny_bundle, parts, tmp_path):
    """Its learning rate is one of AdamW's."""
    found = []
    for optimizer in ("sgd", "adamw"):
        source = tiny_bundle("diagonal").folder
        bundle = Bundle.load(shutil.copytree(source, tmp_path / optimizer / source.name))
        config = json.loads((bundle.folder / TRAINING).read_text(encoding="utf-8"))
        config["recipe"]["optimizer"] = optimizer
        (bundle.folder / TRAINING).write_text(json.dumps(config), encoding="utf-8")
        assert retrain(bundle, *parts, tmp_path / optimizer / "home", scope="head", epochs=2).published
        found.append(find_bundle(bundle.name, tmp_path / optimizer / "home"))
    assert changed(*found) == set()


def test_a_fitted_head_is_fitted_again(tiny_bundle, parts, tmp_path):
    bundle = tiny_bundle("temperature")
    result = retrain(bundle, *parts, tmp_path / "home", scope="head")
    assert result.published
    assert changed(bundle, find_bundle(bundle.name, tmp_path / "home")) == {"head"}
    with pytest.raises(InputError, match="'tiny_deterministic' as a whole"):
        retrain(bundle, *parts, tmp_path / "home", scope="whole")


def test_worse_weights_are_thrown_away(tiny_bundle, parts, tmp_path):
    bundle = tiny_bundle("deterministic")
    retrain(bundle, *parts, tmp_path / "home", epochs=8, learning_rate=0.01)
    good = find_bundle(bundle.name, tmp_path / "home")
    result = retrain(good, *parts, tmp_path / "home", epochs=1, learning_rate=1.0)
    assert not result.published
    assert result.version is None
    assert "the validation" in result.reason
    assert find_bundle(bundle.name, tmp_path / "home").checksum == good.checksum
    assert len(list_versions(good)) == 2


def test_a_model_without_weights_is_trained_from_the_start_and_published(parts, tmp_path):
    bundle = Bundle.load(write_bundle(tmp_path / "models"))
    result = retrain(bundle, *parts, tmp_path / "models", epochs=1)
    assert result.published
    assert result.record.before is None
    assert find_bundle(bundle.name, tmp_path / "models").checksum == result.record.checksum


def test_a_folder_that_cannot_be_written_is_named(tiny_bundle, parts, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        retrain(tiny_bundle("low_rank"), *parts, tmp_path / "file", epochs=1)
