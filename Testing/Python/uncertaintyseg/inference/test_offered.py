"""What a model says may be chosen for its runs is what can be run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle, find_bundles
from uncertaintyseg.inference.methods import check_options, ensemble_members, methods
from uncertaintyseg.inference.offered import offered_methods, origin_of, run_options
from uncertaintyseg.inference.predictor import Predictor


def names(bundle: Bundle, others=()) -> list[str]:
    return [method.name for method in offered_methods(bundle, others)]


def test_every_offered_method_runs_with_its_defaults_and_at_its_limits(tiny_bundle, scan):
    bundle = tiny_bundle("low_rank")
    for method in offered_methods(bundle):
        defaults = {option.name: option.default for option in method.options}
        check_options(method.name, defaults)
        for option in method.options:
            if option.name == "passes":
                defaults["passes"] = 2
            if option.low is not None:
                least, less = option.low, option.low - 1
                listed = option.kind == "numbers"
                check_options(method.name, {option.name: [least] if listed else least})
                with pytest.raises(InputError, match=option.name):
                    check_options(method.name, {option.name: [1.0, less] if listed else less})
        made = Predictor(bundle, method=method.name, options=defaults).predict(scan, samples=2)
        assert made.provenance.params["method"] == method.name


def test_lists_are_offered_with_what_may_stand_in_them_and_run(tiny_bundle, scan):
    bundle = tiny_bundle("low_rank")
    listed = {
        option.name: option
        for method in offered_methods(bundle)
        for option in method.options
        if option.kind in ("numbers", "choices")
    }
    assert set(listed) == {"intensities", "scales", "components", "value_range"}
    scales, components = listed["scales"], listed["components"]
    assert (scales.default, scales.low, scales.high, scales.fewest, scales.most) == ([1.0], 0.1, 4, 1, 100)
    assert components.default == components.choices == ["dropout_injection", "tta", "noise"]  # no layers of dropout
    assert components.fewest == 2
    assert not components.required
    span = listed["value_range"]
    assert (span.default, span.low, span.high, span.fewest, span.most) == ([], -1e6, 1e6, 2, 2)
    made = Predictor(bundle, method="tta", options={"symmetries": "none", "scales": [0.5, 1.0]}).predict(
        scan, samples=2
    )
    assert made.provenance.params["scales"] == [0.5, 1.0]
    with pytest.raises(InputError, match="at least two"):
        check_options("fused", {"components": ["tta"]})


def test_every_option_of_passes_is_offered_but_what_the_program_knows_and_what_is_nested(tiny_bundle):
    bundle = tiny_bundle("deterministic")
    own = {"spacing", "reuse"}  # of the grid, and how long a run takes
    for method in offered_methods(bundle):
        left_out = {"options"} if method.name == "fused" else set()  # of each component, by name
        assert {option.name for option in method.options} == set(methods()[method.name].options) - own - left_out
        assert all(option.text for option in method.options)


def test_symmetries_are_offered_as_far_as_the_network_takes_them(tiny_bundle, scan):
    bundle = tiny_bundle("deterministic")

    def symmetries(own, origin=None):
        config = bundle.folder / "configs" / "inference.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "symmetries": own}))
        changed = Bundle.load(bundle.folder)
        changed = replace(changed, uncertainty=changed.uncertainty.model_copy(update={"origin": origin}))
        [tta] = [method for method in offered_methods(changed) if method.name == "tta"] or [None]
        found = [option for option in tta.options if option.name == "symmetries"]
        return (found[0].default, found[0].choices, tta.passes)

    assert symmetries(None) == ("flips", ["none", "flips", "rotations", "cube"], 8)
    assert symmetries([0]) == (None, ["none", "flips", "rotations", "cube"], 2)
    assert symmetries([0, 1], {"source": "nnunet"}) == (None, ["none"], 4)
    own = {"symmetries": None, "scales": [1.0]}
    assert Predictor(Bundle.load(bundle.folder), method="tta", options=own).options == {**own, "symmetries": [0, 1]}


def test_without_mirroring_nothing_is_fused_with_a_single_pass(tiny_bundle, scan):
    bundle = tiny_bundle("deterministic")
    config = bundle.folder / "configs" / "inference.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "symmetries": []}))
    bundle = Bundle.load(bundle.folder)
    with pytest.raises(InputError, match=r"'tta' would be a single pass of what is fused: leave it out, --option"):
        Predictor(bundle, method="fused")
    with pytest.raises(InputError, match="single pass of what is fused"):
        Predictor(bundle, method="fused", options={"components": ["tta", "noise"], "options": {"noise": {"passes": 2}}})
    [fused] = [method for method in offered_methods(bundle) if method.name == "fused"]
    [components] = [option for option in fused.options if option.name == "components"]
    assert components.required
    assert components.default == components.choices == ["dropout_injection", "noise"]
    assert fused.passes == 60
    few = {"dropout_injection": {"passes": 2}, "noise": {"passes": 2}}
    for options in (
        {"components": components.default, "options": few},
        {"options": {**few, "tta": {"scales": [0.5, 1.0]}}},
        {"options": few, "symmetries": [0]},
    ):
        made = Predictor(bundle, method="fused", options=options).predict(scan, samples=2)
        assert "fused_uncertainty" in made.maps


def test_dropout_layers_symmetries_and_siblings_decide_what_is_offered(tiny_bundle):
    bundle = tiny_bundle("deterministic")
    assert "mc_dropout" not in names(bundle)
    config = bundle.folder / "configs" / "inference.json"
    found = json.loads(config.read_text())
    found["network_def"]["backbone"]["dropout"] = 0.2
    found["symmetries"] = []
    config.write_text(json.dumps(found))
    changed = Bundle.load(bundle.folder)
    assert "mc_dropout" in names(changed)
    assert "tta" not in names(changed)  # it would be one pass
    script = replace(changed, uncertainty=changed.uncertainty.model_copy(update={"origin": {"source": "torchscript"}}))
    assert names(script) == ["noise"]


def test_an_ensemble_is_offered_where_another_model_has_a_network_of_its_own():
    found = find_bundles()
    [ensemble] = [m for m in offered_methods(found["hippocampus_low_rank"], found.values()) if m.name == "ensemble"]
    (models,) = ensemble.options
    assert (
        models.default
        == models.choices
        == [other.name for other in ensemble_members(found["hippocampus_low_rank"], None)]
    )
    assert ensemble.passes == 1 + len(models.choices)
    with pytest.raises(InputError, match="give a list of names"):
        ensemble_members(found["hippocampus_low_rank"], 5)
    assert "ensemble" not in names(found["hippocampus_low_rank"])
    [tta] = [method for method in offered_methods(found["hippocampus_low_rank"]) if method.name == "tta"]
    assert tta.passes == 2  # mirrored along one axis only


@pytest.mark.parametrize("text", [None, "{"], ids=["missing", "no JSON"])
def test_a_damaged_model_offers_nothing_and_takes_nothing_from_others(tiny_bundle, tmp_path, text):
    bundle = tiny_bundle("low_rank")
    damaged = Bundle.load(shutil.copytree(bundle.folder, tmp_path / "damaged"))
    for name in ("train", "inference"):
        file = damaged.folder / "configs" / f"{name}.json"
        file.unlink() if text is None else file.write_text(text)
    assert names(damaged, [bundle]) == []
    assert "ensemble" not in names(bundle, [damaged])
    assert names(bundle, [damaged]) == names(bundle)


def test_maps_of_a_methods_own_are_listed_with_it(tiny_bundle):
    own = {method.name: method.maps for method in offered_methods(tiny_bundle())}
    assert own == {name: [] for name in own} | {"fused": ["fused_uncertainty"]}


def test_draws_are_offered_where_a_head_has_whole_shapes():
    found = find_bundles()
    assert [option.name for option in run_options(found["hippocampus_low_rank"])][:2] == ["samples", "seed"]
    assert "samples" not in [option.name for option in run_options(found["hippocampus_deterministic"])]


def test_where_a_model_comes_from_is_told(tiny_bundle):
    bundle = tiny_bundle()
    assert origin_of(bundle) is None
    about = {"source": "nnunet", "folder": "Dataset004", "trainer": "nnUNetTrainer", "trusted": False}
    imported = replace(bundle, uncertainty=bundle.uncertainty.model_copy(update={"origin": about}))
    assert origin_of(imported) == "Imported from nnU-Net (folder Dataset004, trainer nnUNetTrainer)."


def test_shapes_are_offered_by_what_a_model_shares_and_not_by_its_kind_of_head(tmp_path):
    alone = Bundle.load(tiny.write_bundle(tmp_path, "mixture_of_bases"))
    together = Bundle.load(tiny.write_bundle(tmp_path / "shared", "mixture_of_bases", noise="volume"))
    assert "samples" not in [option.name for option in run_options(alone)]
    assert [option.name for option in run_options(together)][:2] == ["samples", "seed"]
