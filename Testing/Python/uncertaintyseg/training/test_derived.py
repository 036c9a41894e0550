"""A head on an imported network: it stores only its own tensors, and knows whose network it needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, TRAINING, Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.result_key import result_key
from uncertaintyseg.inference.weights import save_weights
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.retrain import retrain
from uncertaintyseg.training.short import learn
from uncertaintyseg.training.variant import with_head
from uncertaintyseg.training.versions import bundle_with, list_versions, publish, restore
from uncertaintyseg.wire import ModelVersion


@pytest.fixture(scope="module")
def cases(windows) -> list[Case]:
    return read_cases(windows)


@pytest.fixture(scope="module")
def scan(windows) -> Path:
    return windows / "images" / "case_0.nii.gz"


def write_imported(folder: Path, seed: int = 0, **options: object) -> Bundle:
    """A model with an origin, as an importer writes it, its weights in float32."""
    path = tiny.write_bundle(folder, task="foreign", **options)
    bundle = tiny.give_random_weights(path, seed)
    network = bundle.network()
    for value in network.parameters():
        value.data += 1e-5 * torch.randn_like(value)  # so that half precision would lose something
    metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
    metadata["uncertainty"]["origin"] = {"source": "nnunet", "folder": "Dataset1"}
    (path / METADATA).write_text(json.dumps(metadata))
    inference = json.loads((path / INFERENCE).read_text(encoding="utf-8")) | {"average": "logits", "mirrors": [0]}
    (path / INFERENCE).write_text(json.dumps(inference))
    save_weights(network, bundle.weights, exact=True)
    return Bundle.load(path)


@pytest.fixture
def imported(tmp_path) -> Bundle:
    return write_imported(tmp_path / "models")


def fitted(imported: Bundle, cases: list[Case], head: str = "temperature", **options: object) -> Bundle:
    models = imported.folder.parent
    made = with_head(imported, head, models, **options)
    recipe = Recipe.load(made, epochs=1, validate_every=1)
    return fit(made, cases[:2], cases[3:4], models, recipe=recipe).bundle


@pytest.mark.parametrize("head", sorted(set(HEADS) - {"deterministic"}))
def test_any_head_stores_its_own_tensors_and_runs_on_the_network_of_its_base(head, imported, cases, scan):
    bundle = fitted(imported, cases, head)
    assert {name.split(".")[0] for name in load_file(bundle.weights)} == {"head"}
    network, start = bundle.network(), imported.network()
    for name, value in start.backbone.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[name], value), name
    assert bundle.base.checksum == imported.checksum
    prediction = Predictor(bundle).predict(scan)
    assert prediction.provenance.weights_checksum == bundle.checksum


@pytest.mark.parametrize("head", ["temperature", "laplace"])
def test_a_fitted_head_keeps_the_output_layer_to_the_last_bit(head, imported, cases):
    own, start = fitted(imported, cases, head).network().head.mean, imported.network().head.mean
    assert torch.equal(own.weight, start.weight)
    assert torch.equal(own.bias, start.bias)
    assert not torch.equal(start.weight, start.weight.half().float())


def test_settings_of_averaged_logits_stay_with_the_base(imported):
    made = with_head(imported, "laplace", imported.folder.parent)
    assert made.config.get("average") is None
    assert made.config.get("mirrors") is None
    assert made.setting("window") == imported.setting("window")
    assert made.uncertainty.origin == imported.uncertainty.origin


def test_the_preprocessing_is_that_of_the_base(imported, scan):
    made = with_head(imported, "laplace", imported.folder.parent)
    own, other = (bundle.preprocessing()({"image": scan})["image"] for bundle in (made, imported))
    assert torch.equal(own, other)


def test_the_checksum_covers_base_and_head(imported, cases, scan, tmp_path):
    bundle = fitted(imported, cases)
    other = write_imported(tmp_path / "other", seed=1)
    moved = fitted(other, cases)
    shutil.copy(bundle.weights, moved.weights)  # the same head on another network
    again = Bundle.load(moved.folder)
    assert len({bundle.checksum, again.checksum, imported.checksum}) == 3
    keys = {result_key(scan, one, seed=0, samples=2, device="cpu") for one in (bundle, again)}
    assert len(keys) == 2
    state = load_file(bundle.weights)
    tiny_change = bundle.network()
    tiny_change.head.temperature.fill_(float(state["head.temperature"]) * 1.01)
    bundle.save(tiny_change)
    assert Bundle.load(bundle.folder).checksum != bundle.checksum


def test_a_base_that_is_gone_or_has_changed_is_refused_by_name(imported, cases, scan, tmp_path):
    bundle = fitted(imported, cases, "laplace")
    imported.folder.rename(tmp_path / "elsewhere")
    for use in (
        lambda: bundle_with(bundle.folder, bundle.checksum).network(),
        lambda: Bundle.load(bundle.folder).preprocessing(),
        lambda: Predictor(Bundle.load(bundle.folder)),
        lambda: Bundle.load(bundle.folder).network(weights=False),
    ):
        with pytest.raises(BundleError, match=r"this laplace model needs 'foreign_deterministic', which is not here"):
            use()
    write_imported(imported.folder.parent, seed=5)
    with pytest.raises(BundleError, match=r"needs 'foreign_deterministic', which has other weights"):
        Predictor(Bundle.load(bundle.folder))
    shutil.rmtree(imported.folder)
    (tmp_path / "elsewhere").rename(imported.folder)
    assert Predictor(Bundle.load(bundle.folder)).predict(scan).label.shape


def test_a_base_in_the_users_folder_is_found_from_anywhere(cases, tmp_path, monkeypatch):
    monkeypatch.setenv("UNCERTAINTYSEG_MODELS", str(tmp_path / "own"))
    imported = write_imported(tmp_path / "own")
    made = with_head(imported, "temperature", tmp_path / "runs")
    report = fit(made, cases[:1], cases[3:4], tmp_path / "runs")
    assert report.bundle.base.folder == imported.folder
    assert report.bundle.folder.parent == (tmp_path / "runs").resolve()


def test_a_place_from_which_the_base_is_not_found_is_refused_before_anything_is_written(imported, tmp_path):
    with pytest.raises(InputError, match=r"would not find 'foreign_deterministic'.*--output"):
        with_head(imported, "temperature", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_head_may_stand_on_a_head(imported, cases, scan):
    low_rank = fitted(imported, cases, "low_rank", rank=2)
    bundle = fitted(low_rank, cases, "laplace", name="foreign_both", base="low_rank", base_options={"rank": 2})
    assert bundle.base.name == low_rank.name
    assert bundle.base.base.name == imported.name
    for name, value in low_rank.network().head.state_dict().items():
        assert torch.equal(bundle.network().head.base.state_dict()[name], value), name
    assert Predictor(bundle).predict(scan).label.shape


def test_versions_of_the_head_come_and_go_and_find_the_base(imported, cases):
    bundle = fitted(imported, cases)
    models = imported.folder.parent
    first, record = bundle.checksum, ModelVersion(scope="head")
    candidate = models / ".candidates" / bundle.name
    shutil.copytree(bundle.folder, candidate)
    network = bundle.network()
    network.head.temperature.fill_(3.0)
    Bundle.load(candidate).save(network)
    published = publish(Bundle.load(candidate), models, record, replaces=bundle)
    assert published.checksum != first
    assert float(published.network().head.temperature) == 3.0
    assert float(bundle_with(published.folder, first).network().head.temperature) != 3.0
    assert restore(published, 1).checksum == first
    assert [version.checksum for version in list_versions(published)] == [first, published.checksum]


def test_the_network_of_a_base_is_not_trained_with_a_head(imported, cases, tmp_path):
    bundle = fitted(imported, cases, "diagonal")
    models = imported.folder.parent
    with pytest.raises(BundleError, match=r"adds a head to 'foreign_deterministic'.*must be 'frozen'"):
        fit(bundle, cases[:1], cases[3:4], models, recipe=Recipe.load(bundle, backbone="fine-tuned"))
    with pytest.raises(InputError, match=r"adds a head to 'foreign_deterministic'.*scope 'head'"):
        retrain(bundle, cases[:1], cases[3:4], models, scope="whole")
    with pytest.raises(BundleError, match=r"adds a head to 'foreign_deterministic'"):
        learn(bundle, cases[:1], start_from=None, steps=1, learning_rate=0.1, seed=0)
    result = retrain(bundle, cases[:2], cases[3:4], models, scope="head", epochs=1)
    assert np.isfinite(result.record.after["nll"])


def test_an_imported_network_is_not_trained_itself_and_the_message_says_what_to_do(imported, cases):
    models, why = imported.folder.parent, r"'foreign_deterministic' is an imported network.*--head laplace"
    for train in (
        lambda: fit(imported, cases[:1], cases[3:4], models),
        lambda: retrain(imported, cases[:1], cases[3:4], models),
        lambda: retrain(imported, cases[:1], cases[3:4], models, scope="head"),
        lambda: learn(imported, cases[:1], start_from=None, steps=1, learning_rate=0.1, seed=0),
    ):
        with pytest.raises(BundleError, match=why):
            train()
    assert Bundle.load(imported.folder).checksum == imported.checksum


def test_segwithu_reads_the_two_taps_above_the_last(tmp_path):
    imported = write_imported(tmp_path / "models", filters=(4, 8, 8, 8))
    made = with_head(imported, "segwithu", tmp_path / "models")
    assert json.loads((made.folder / INFERENCE).read_text(encoding="utf-8"))["network_def"]["taps"] == {
        "up_0": 16,
        "up_1": 16,
    }


def test_an_imported_model_without_a_recipe_is_named(imported):
    (imported.folder / TRAINING).unlink()
    with pytest.raises(BundleError, match=r"train\.json"):
        with_head(imported, "diagonal", imported.folder.parent)
