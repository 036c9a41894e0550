"""Biases with which predicted volumes are the true ones, on predictions that are known and on a trained model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.loading import read_labelled
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.validation import validate
from uncertaintyseg.training.variant import with_head
from uncertaintyseg.training.volume_matching import LARGEST, Reading, balance, match_volumes


def reading(logits: np.ndarray, true: list[int], decided: list[int] | None = None, every: int = 1) -> Reading:
    """As of a network that says these logits `[C, n]`."""
    open_ = torch.from_numpy(logits[:, ::every])
    decided = torch.tensor(decided or [0] * len(true), dtype=torch.float64)
    predicted = decided + torch.bincount(torch.from_numpy(logits.argmax(0)), minlength=len(true))
    weights = torch.full((open_.shape[1],), logits.shape[1] / open_.shape[1], dtype=torch.float64)
    return Reading(predicted, torch.tensor(true, dtype=torch.float64), decided, open_, weights, {})


def volumes(logits: np.ndarray, bias: torch.Tensor) -> np.ndarray:
    moved = logits + np.concatenate([[0.0], bias.double().numpy()])[:, None]
    return np.bincount(moved.argmax(0), minlength=len(logits))


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 2000))


def test_with_the_biases_every_structure_has_its_volume(logits):
    true = [800, 500, 300, 400]
    assert volumes(logits, balance(reading(logits, true))) == pytest.approx(true, abs=2)


def test_voxels_that_no_bias_moves_count_as_well(logits):
    bias = balance(reading(logits, [900, 550, 300, 450], decided=[0, 100, 0, 100]))
    assert volumes(logits, bias)[1:] == pytest.approx([450, 300, 350], abs=2)


def test_volumes_that_are_right_already_need_no_bias(logits):
    true = np.bincount(logits.argmax(0), minlength=4)
    assert balance(reading(logits, true.tolist())) == pytest.approx(0, abs=0.01)


def test_a_sample_of_the_voxels_stands_for_all(logits):
    true = [800, 500, 300, 400]
    assert volumes(logits, balance(reading(logits, true, every=4))) == pytest.approx(true, rel=0.15)


def test_structures_that_no_label_holds_are_left_alone_and_no_bias_is_larger_than_the_limit(logits):
    bias = balance(reading(logits, [10, 1990, 0, 0]))
    assert bias[0] == LARGEST
    assert bias[1:].tolist() == [0, 0]
    assert balance(reading(logits, [1999, 1, 0, 0]))[0] == -LARGEST


@pytest.fixture(scope="module")
def trained(windows, tmp_path_factory) -> Bundle:
    """A short training, and then borders that are moved outwards: all structures are too large."""
    folder, cases = tmp_path_factory.mktemp("trained"), read_cases(windows)
    source = Bundle.load(tiny.write_bundle(folder / "models", recipe={"epochs": 10, "learning_rate": 0.02}))
    bundle = fit(source, cases[:3], cases[3:5], folder / "runs").bundle
    network = bundle.network()
    with torch.no_grad():
        network.head.mean.bias[1:] += 1.0
    bundle.save(network)
    return Bundle.load(bundle.folder)


def copied(bundle: Bundle, folder: Path) -> Path:
    return shutil.copytree(bundle.folder, folder / bundle.name)


def label_volumes(bundle: Bundle, cases) -> np.ndarray:
    """Voxels of each structure in the labels of inference, and in the true ones, `[2, structures]`."""
    counts = np.zeros((2, len(bundle.labels)))
    for case in cases:
        both = bundle.preprocessing()({"image": str(case.image), "label": str(case.label)})
        for row, label in enumerate((Predictor(bundle).predict(case.image).label, both["label"].numpy())):
            counts[row] += np.bincount(np.asarray(label).ravel().astype(int), minlength=len(bundle.labels) + 1)[1:]
    return counts


def test_a_matched_model_predicts_the_volumes_of_the_validation_cases(trained, windows, tmp_path):
    cases = read_cases(windows)[3:5]
    bundle = Bundle.load(copied(trained, tmp_path))
    before = label_volumes(bundle, cases)
    match = match_volumes(bundle, read_labelled(bundle, cases, "validation", lambda *_: None))
    after = label_volumes(Bundle.load(bundle.folder), cases)
    assert match.kept
    for name, (predicted, true), (now, _) in zip(match.before, before.T, after.T, strict=True):
        assert match.before[name] == pytest.approx(predicted / true - 1)
        assert match.after[name] == pytest.approx(now / true - 1)
        assert abs(match.after[name]) < max(abs(match.before[name]), 0.02)
    assert match.validation == validate(Bundle.load(bundle.folder), cases)
    assert match.validation["dice"] >= match.dice_before


def test_only_the_bias_of_the_output_layer_changes(trained, windows, tmp_path):
    cases = read_cases(windows)[3:5]
    bundle = Bundle.load(copied(trained, tmp_path))
    match = match_volumes(bundle, read_labelled(bundle, cases, "validation", lambda *_: None))
    old, new = load_file(trained.weights), load_file(bundle.weights)
    name = "head.mean.bias"
    assert [key for key in old if not np.array_equal(old[key], new[key])] == [name]
    assert new[name] - old[name] == pytest.approx([0.0, *match.biases.values()], abs=2e-3)


def test_a_bias_that_would_cost_dice_is_not_kept(trained, windows, tmp_path):
    cases = read_cases(windows)[3:5]
    bundle = Bundle.load(copied(trained, tmp_path))
    items = list(read_labelled(bundle, cases, "validation", lambda *_: None))
    half, drawn = [], np.random.default_rng(0)
    for item in items:  # as predicted, with every other voxel left out by chance: borders have nothing to do with it
        label = np.asarray(Predictor(bundle).predict(item["image"].meta["filename_or_obj"]).label)
        label = np.where(drawn.random(label.shape) < 0.5, label, 0)
        half.append({"image": item["image"], "label": torch.from_numpy(label).reshape(item["label"].shape)})
    match = match_volumes(bundle, half)
    assert not match.kept
    assert match.after == match.before
    assert set(match.biases.values()) == {0.0}
    assert Bundle.load(bundle.folder).checksum == trained.checksum


def test_a_fit_matches_volumes_when_its_recipe_says_so(windows, tmp_path):
    cases = read_cases(windows)
    bundle = Bundle.load(tiny.write_bundle(tmp_path / "models", recipe={"epochs": 2, "learning_rate": 0.02}))
    plain = fit(bundle, cases[:2], cases[3:5], tmp_path / "plain")
    matched = fit(bundle, cases[:2], cases[3:5], tmp_path / "matched", recipe=Recipe.load(bundle, match_volumes=True))
    assert plain.volumes is None
    assert matched.best_epoch == plain.best_epoch
    assert matched.volumes.dice_before == pytest.approx(validate(plain.bundle, cases[3:5])["dice"])
    assert matched.validation == matched.volumes.validation == validate(matched.bundle, cases[3:5])
    assert matched.volumes.kept == (matched.bundle.checksum != plain.bundle.checksum)


def test_a_head_on_a_trained_model_is_not_matched(trained, windows, tmp_path):
    cases = read_cases(windows)
    made = with_head(trained, "diagonal", tmp_path)
    with pytest.raises(BundleError, match=r"recipe\.match_volumes.*match the volumes of that model"):
        fit(
            made, cases[:1], cases[3:4], tmp_path, models=[trained.folder.parent],
            recipe=Recipe.load(made, match_volumes=True),
        )  # fmt: skip
