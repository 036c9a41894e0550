"""The retraining of the shipped models: what it makes anew, and what it can make besides."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.inference.bundle import Bundle, config_text

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def retrain(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("retrain")
    for name in ("retrain", "results", "common"):
        sys.modules.pop(name, None)


def test_models_come_after_what_they_start_from_with_windows_of_their_crops(retrain, tmp_path):
    names = retrain.in_order(["phantom_dropout_unet", "hippocampus_l_fusion"])
    assert names == ["hippocampus_deterministic", "hippocampus_l_fusion", "phantom_dropout_unet"]
    fusion = retrain.source("hippocampus_l_fusion", tmp_path, {"match_volumes": True})
    assert (fusion.name, fusion.head, fusion.task) == ("hippocampus_l_fusion", "l_fusion", "hippocampus")
    recipe = retrain.Recipe.load(fusion)
    assert (recipe.stage, recipe.initial, recipe.match_volumes) == ("head", "hippocampus_deterministic", False)
    assert fusion.config["window"] == list(recipe.crop)
    unet = retrain.source("phantom_dropout_unet", tmp_path, {"match_volumes": True})
    rates = {part.p for part in unet.network(weights=False).backbone.modules() if "Dropout" in type(part).__name__}
    assert rates == {0.2}
    assert retrain.Recipe.load(unet).match_volumes


def test_weights_are_kept_and_what_is_fitted_to_them_is_made_anew(retrain, tmp_path, monkeypatch):
    tiny.write_phantoms(tmp_path / "data", 1, **tiny.COARSE)
    path = tiny.write_bundle(tmp_path / "shipped", "l_fusion", passes=2, rank=2, **tiny.COARSE_MODEL)
    shipped = tiny.give_random_weights(path)
    monkeypatch.setattr(retrain, "SHIPPED", shipped.folder.parent)
    cases, output = read_cases(tmp_path / "data"), tmp_path / "output"
    report = retrain.kept(retrain.source(shipped.name, output, {}), {"train": cases, "validation": cases}, output)
    assert report["weights"] == "kept"
    old, new = (load_file(folder / "models/model.safetensors") for folder in (shipped.folder, output / shipped.name))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"head.laplace.posterior.factor", "head.merit"}
    head = Bundle.load(output / shipped.name).network().head
    assert report["fitted"][f"auroc_{head.best()}"] == pytest.approx(float(head.merit.max()))


def test_a_changed_recipe_is_written_as_every_configuration_is(retrain, tmp_path):
    made = retrain.source("phantom_deterministic", tmp_path, {"epochs": 3})
    text = (made.folder / retrain.TRAINING).read_text(encoding="utf-8")
    assert text == config_text(retrain.json.loads(text))
    assert retrain.Recipe.load(made).epochs == 3
