"""Every method by name, and each of them on the same model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import INFERENCE
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.methods import make_passes, methods, model_with
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.predictors import predictor_for
from uncertaintyseg.measures import MEASURES

QUICK = {
    "mc_dropout": {"passes": 2},
    "dropout_injection": {"passes": 2, "p": 0.2},
    "noise": {"passes": 2, "sigma": 0.5},
    "tta": {},
    "fused": {"options": {"dropout_injection": {"passes": 2}, "noise": {"passes": 2}}},
}


def test_every_head_and_every_kind_of_passes_is_listed_with_its_source():
    found = methods()
    assert set(found) == set(HEADS) | set(PASSES)
    for method in found.values():
        assert method.paper
        assert method.summary
        assert method.passes >= 1
        assert method.maps[: len(MEASURES)] == list(MEASURES)
        assert method.kind == ("head" if method.name in HEADS else "passes")


def test_options_are_listed_with_their_defaults_and_without_what_the_program_fills_in():
    found = methods()
    assert found["low_rank"].options["rank"] == 10
    assert found["noise"].options["passes"] == 30
    for method in found.values():
        assert not {"network", "networks", "spacing", "features", "classes"} & method.options.keys()


@pytest.mark.parametrize("name", ["dropout_injection", "noise", "tta", "fused"])
@pytest.mark.parametrize("head", ["deterministic", "low_rank"])
def test_passes_run_on_any_model(name, head, tiny_bundle, scan):
    bundle = tiny_bundle(head, 3)
    prediction = predictor_for(bundle, name, options=QUICK[name]).predict(scan)
    assert prediction.label.shape == prediction.maps["variance"].shape
    assert prediction.maps["variance"].max() > 0
    assert prediction.provenance.params["method"] == name
    assert prediction.map_info["variance"].source == ("total" if head == "low_rank" else PASSES[name].source)
    assert all(row.volume_ml_95 is None and name in row.interval_method for row in prediction.structures)


@pytest.mark.parametrize("name", ["dropout_injection", "noise", "tta"])
def test_the_same_seed_gives_the_same_maps(name, tiny_bundle, scan):
    one, two = (predictor_for(tiny_bundle("deterministic", 3), name, options=QUICK[name]).predict(scan) for _ in "ab")
    assert (one.maps["predictive_entropy"] == two.maps["predictive_entropy"]).all()


@pytest.mark.parametrize(("method", "passes"), [("tta", 2), ("fused", 30 + 2 + 30)])
def test_a_model_says_which_symmetries_it_was_trained_for(method, passes, tmp_path):
    path = tiny.write_bundle(tmp_path / "models")
    config = json.loads((path / INFERENCE).read_text(encoding="utf-8"))
    (path / INFERENCE).write_text(json.dumps(config | {"symmetries": [0]}))
    bundle = tiny.give_random_weights(path)
    assert predictor_for(bundle, method).options == {"symmetries": [0]}
    network = bundle.network()
    assert make_passes(method, network, spacing=(1, 1, 1), options={"symmetries": [0]}).passes == passes
    asked = predictor_for(bundle, method, options={"symmetries": "flips"})
    assert asked.options == {"symmetries": "flips"}


def test_a_head_is_found_in_the_model_of_the_same_task_that_has_it(tmp_path):
    folder = tmp_path / "models"
    plain, other = (tiny.give_random_weights(tiny.write_bundle(folder, head)) for head in ("deterministic", "low_rank"))
    assert model_with(plain, None, folder) == (plain, None)
    assert model_with(plain, "low_rank", folder)[0].name == other.name
    assert model_with(other, "low_rank", folder) == (other, None)
    assert model_with(other, "tta", folder) == (other, "tta")


def test_a_head_that_nobody_trained_is_answered_with_how_to_train_it(tiny_bundle):
    bundle = tiny_bundle("deterministic", 3)
    with pytest.raises(BundleError, match=r"train tiny_deterministic DATA --head laplace"):
        model_with(bundle, "laplace", bundle.folder.parent)


def test_what_does_not_exist_is_answered_with_what_there_is(tiny_bundle):
    bundle = tiny_bundle("deterministic", 3)
    with pytest.raises(InputError, match=r"no method 'nonsense'.*low_rank.*tta"):
        predictor_for(bundle, "nonsense")
    with pytest.raises(InputError, match=r"no option 'nonsense'; it has .*sigma"):
        predictor_for(bundle, "noise", options={"nonsense": 1})
    with pytest.raises(InputError, match=r"fixed when its head is trained"):
        predictor_for(bundle, None, options={"passes": 1})
    with pytest.raises(InputError, match=r"that runs on any model"):
        make_passes("low_rank", bundle.network(), spacing=(1, 1, 1), options={})


def test_a_network_without_dropout_points_to_the_method_that_brings_its_own(tiny_bundle):
    with pytest.raises(InputError, match="dropout_injection"):
        predictor_for(tiny_bundle("deterministic", 3), "mc_dropout")


def test_an_ensemble_averages_its_members(tmp_path, scan):
    folder = tmp_path / "models"
    members = [
        tiny.give_random_weights(tiny.write_bundle(folder, task="tiny"), seed=1),
        tiny.give_random_weights(tiny.write_bundle(folder, "low_rank", task="tiny"), seed=2),
    ]
    ensemble = predictor_for(members[0], "ensemble", [folder], options={"models": "tiny_low_rank"}).predict(scan)
    alone = [Predictor(member).predict(scan) for member in members]
    mean = sum(prediction.maps["probability_organ"] for prediction in alone) / 2
    assert abs(ensemble.maps["probability_organ"] - mean).max() < 1e-5
    assert ensemble.provenance.params["models"] == ["tiny_low_rank"]


def test_members_of_an_ensemble_must_see_the_same(tmp_path):
    folder = tmp_path / "models"
    one = tiny.give_random_weights(tiny.write_bundle(folder))
    tiny.give_random_weights(tiny.write_bundle(folder, "low_rank", spacing=(2, 2, 2)))
    tiny.give_random_weights(tiny.write_bundle(folder, "diagonal", classes=2))
    with pytest.raises(BundleError, match="second model"):
        predictor_for(one, "ensemble", [folder])
    with pytest.raises(BundleError, match="'spacing'"):
        predictor_for(one, "ensemble", [folder], options={"models": ["tiny_low_rank"]})
    with pytest.raises(BundleError, match="labels"):
        predictor_for(one, "ensemble", [folder], options={"models": ["tiny_diagonal"]})
    path = tiny.write_bundle(folder, "single_basis")
    config = json.loads((path / INFERENCE).read_text(encoding="utf-8"))
    config["preprocessing"]["transforms"][-1]["a_max"] = 300
    (path / INFERENCE).write_text(json.dumps(config))
    tiny.give_random_weights(path)
    with pytest.raises(BundleError, match="'preprocessing'"):
        predictor_for(one, "ensemble", [folder], options={"models": ["tiny_single_basis"]})
    with pytest.raises(BundleError, match="no model 'absent'"):
        predictor_for(one, "ensemble", [folder], options={"models": ["absent"]})


def test_the_fused_map_is_one_of_every_prediction_and_is_ranked_with_the_others(tiny_bundle, scan):
    options = {"components": ["tta", "noise"], "options": {"noise": {"passes": 2}, "tta": {"symmetries": [0]}}}
    predictor = Predictor(tiny_bundle("low_rank", 3), method="fused", options=options)
    found = predictor.predict(scan)
    info, fused = found.map_info["fused_uncertainty"], np.asarray(found.maps["fused_uncertainty"])
    assert (info.unit, info.source) == ("nats", "total")
    assert info.range == (0, pytest.approx(np.log(3)))
    assert fused.max() > 0
    assert (fused <= np.asarray(found.maps["predictive_entropy"]) + 1e-5).all()
    assert "fused_uncertainty" in predictor.drivers
    assert "fused_uncertainty" in methods()["fused"].maps
    assert "fused_uncertainty" not in methods()["tta"].maps


def test_a_crf_and_a_threshold_change_the_label_and_are_recorded(tiny_bundle, scan, tmp_path):
    bundle = tiny_bundle("deterministic", 3)
    plain = Predictor(bundle).predict(scan)
    drawn = Predictor(bundle, crf=CRF(weight=10.0, sigma_mm=8.0)).predict(scan)
    cut = Predictor(bundle, threshold="percentile").predict(scan)
    assert (drawn.label != plain.label).any()
    assert drawn.maps["variance"].max() == 0
    assert abs((cut.label > 0).mean() - 0.05) < 0.02
    assert drawn.provenance.params["crf"]["weight"] == 10.0
    assert cut.provenance.params == {"threshold": "percentile"}
    own = [np.asarray(cut.maps[f"probability_{name}"]) for name in ("organ", "lesion")]
    p = torch.stack([torch.from_numpy(value) for value in (1 - own[0] - own[1], *own)])
    risk = 1 - p.gather(0, torch.from_numpy(cut.label).long()[None])[0]
    assert torch.allclose(risk, torch.from_numpy(cut.maps["error_probability"]), atol=1e-5)
    assert cut.map_info["error_probability"].range == (0, 1)
    assert cut.save(tmp_path / "out")["provenance"]["params"] == {"threshold": "percentile"}
    with pytest.raises(InputError, match="threshold"):
        Predictor(bundle, threshold="nonsense")
