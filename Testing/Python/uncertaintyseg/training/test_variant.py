"""Another head on a trained model's backbone: what the derived bundle is, and that it can be fitted."""

from __future__ import annotations

import json

import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, TRAINING, Bundle
from uncertaintyseg.training.fit import _learnt, fit
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.variant import with_head


@pytest.fixture
def trained(tmp_path) -> Bundle:
    return tiny.give_random_weights(tiny.write_bundle(tmp_path / "models"))


@pytest.mark.parametrize("head", sorted(HEADS))
def test_any_head_goes_on_any_model(head, trained, tmp_path):
    made = with_head(trained, head, tmp_path / "runs")
    assert (made.name, made.head, made.task) == (f"tiny_{head}", head, "tiny")
    assert made.labels == trained.labels
    network = made.network(weights=False)
    assert network.head.name == head
    assert set(network.head.extra_maps()) <= set(made.maps)
    assert Recipe.load(made).initial == trained.name
    assert not made.checksum


def test_options_reach_the_new_head_and_those_of_the_old_one_do_not(tmp_path):
    old = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", "low_rank", rank=3))
    made = with_head(old, "mixture_of_bases", tmp_path / "runs", bases=2)
    assert made.network(weights=False).head.bases.shape[0] == 2
    assert "rank" not in json.loads((made.folder / INFERENCE).read_text(encoding="utf-8"))["network_def"]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_blocks_of_a_model_of_images_see_one_slice_unless_told_otherwise(dimensions, trained, tmp_path):
    config = json.loads((trained.folder / METADATA).read_text(encoding="utf-8"))
    config["uncertainty"]["dimensions"] = dimensions
    (trained.folder / METADATA).write_text(json.dumps(config))
    base = Bundle.load(trained.folder)
    kernels = [[3, 3, 1] if dimensions == 2 else [3, 3, 3], [5, 3, 1]]
    for number, options in enumerate(({}, {"kernel": [5, 3, 1]})):
        made = with_head(base, "l_fusion", tmp_path / "runs", name=f"new_{number}", **options)
        block = made.network(weights=False).head.dropout.blocks[0]
        assert list(block.conv.weight.shape[2:]) == kernels[number]


def test_a_head_that_is_completed_after_training_has_its_posterior_and_its_choice_in_the_bundle(
    trained, tmp_path, windows
):
    cases = read_cases(windows)
    made = with_head(trained, "l_fusion", tmp_path / "runs", passes=2, rank=2)
    start = made.network(weights=False).head
    report = fit(
        made, cases[:1], cases[:1], tmp_path / "runs",
        recipe=Recipe.load(made, epochs=1, validate_every=1), models=[trained.folder.parent],
    )  # fmt: skip
    head = report.bundle.network().head
    assert not torch.equal(head.laplace.posterior.factor, start.laplace.posterior.factor)
    assert {"prior_precision", "tempering", "dice", "nll", f"auroc_{head.best()}"} <= set(report.validation)
    assert report.validation[f"auroc_{head.best()}"] == pytest.approx(float(head.merit.max()), abs=1e-6)
    assert report.shift is not None


def test_the_new_model_segments_like_the_old_one(trained, tmp_path, windows):
    cases = read_cases(windows)
    made = with_head(trained, "diagonal", tmp_path / "runs", name="tiny_other")
    assert made.name == "tiny_other"
    report = fit(
        made, cases[:1], cases[:1], tmp_path / "runs",
        recipe=Recipe.load(made, epochs=1, validate_every=1), models=[trained.folder.parent],
    )  # fmt: skip
    old, new = trained.network(), report.bundle.network()
    image = torch.randn(1, 1, 8, 8, 8)
    assert torch.allclose(new.backbone(image), old.backbone(image), atol=1e-2)  # weights are kept in half precision
    assert report.bundle.checksum


def test_making_it_again_changes_nothing_and_other_settings_need_another_name(trained, tmp_path):
    one = with_head(trained, "low_rank", tmp_path / "runs", rank=2)
    before = (one.folder / TRAINING).stat().st_mtime_ns
    with_head(trained, "low_rank", tmp_path / "runs", rank=2)
    assert (one.folder / TRAINING).stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another model already"):
        with_head(trained, "low_rank", tmp_path / "runs", rank=3)


def test_what_somebody_changed_in_its_train_json_stays_and_is_told(trained, tmp_path):
    made, told = with_head(trained, "low_rank", tmp_path / "runs", rank=2), []
    path = made.folder / TRAINING
    config = json.loads(path.read_text(encoding="utf-8"))
    config["recipe"]["epochs"] = 77
    path.write_text(json.dumps(config), encoding="utf-8")
    again = with_head(trained, "low_rank", tmp_path / "runs", rank=2, tell=told.append)
    assert Recipe.load(again).epochs == 77
    assert told == [f"{path} is kept, though its epochs differs from a new one's; delete it for a new one."]
    config["recipe"]["initial"] = "tiny_other"
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(InputError, match="starts from 'tiny_other', not from 'tiny_deterministic': choose another"):
        with_head(trained, "low_rank", tmp_path / "runs", rank=2)


def test_a_warm_start_forgets_what_was_fitted_to_the_weights_as_they_were(tmp_path):
    """Else its epochs would be judged by the posterior of other weights."""
    old = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", "l_fusion", passes=2, rank=2))
    state = old.network().state_dict()
    state["head.laplace.posterior.factor"] += 7
    start = old.network(weights=False)
    fresh = start.head.laplace.posterior.factor.clone()
    missing = start.load_state_dict(_learnt(start, state), strict=False).missing_keys
    assert set(missing) == {"head.laplace.posterior.factor", "head.merit"}
    assert torch.equal(start.head.laplace.posterior.factor, fresh)
    assert torch.equal(start.head.laplace.base.factor.weight, state["head.laplace.base.factor.weight"])
    plain = Bundle.load(tiny.write_bundle(tmp_path / "models", "laplace")).network(weights=False)
    assert _learnt(plain, plain.state_dict()).keys() == plain.state_dict().keys()


def test_many_classes_leave_the_structure_of_a_posterior_to_the_head(tmp_path):
    old = tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", classes=3))
    made = with_head(old, "laplace", tmp_path / "runs", depth=2, draws=3)
    assert "structure" not in json.loads((made.folder / INFERENCE).read_text(encoding="utf-8"))["network_def"]
    description = json.loads((made.folder / METADATA).read_text(encoding="utf-8"))["description"]
    assert description.endswith("; over the last 2 convolutions, below the output layer by a heuristic.")
    assert made.network(weights=False).head.deeper.draws == 3


@pytest.mark.parametrize(("head", "options"), [("nonsense", {}), ("diagonal", {"rank": 2})])
def test_a_head_or_option_that_does_not_exist_writes_nothing(head, options, trained, tmp_path):
    with pytest.raises(BundleError, match=head):
        with_head(trained, head, tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_a_bundle_without_a_recipe_is_named(trained, tmp_path):
    (trained.folder / TRAINING).unlink()
    with pytest.raises(BundleError, match=r"train\.json"):
        with_head(trained, "diagonal", tmp_path / "runs")
