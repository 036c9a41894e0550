"""A fit of so many steps: from nothing or from given weights, and the same again."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.training import case_cache
from uncertaintyseg.training.short import learn


@pytest.fixture
def learnt(tmp_path, windows):
    def fit(name: str, head: str = "deterministic", *, cases: int = 2, seed: int = 0, **options: object) -> Bundle:
        bundle = Bundle.load(tiny.write_bundle(tmp_path / name, head, **options.pop("head_options", {})))
        bundle.weights.parent.mkdir(exist_ok=True)
        given = {"start_from": None, "steps": 3, "learning_rate": 0.02} | options
        learn(bundle, read_cases(windows)[:cases], seed=seed, **given)
        return bundle

    return fit


def same(one: Bundle, other: Bundle) -> bool:
    a, b = load_file(one.weights), load_file(other.weights)
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_same_seed_same_weights(learnt):
    assert same(learnt("a"), learnt("b"))
    assert not same(learnt("a"), learnt("c", seed=1))


def test_it_goes_on_from_the_weights_it_is_given(learnt):
    first = learnt("first")
    still = learnt("still", start_from=first.weights, learning_rate=1e-12, steps=1)
    assert same(first, still)
    assert not same(first, learnt("on", start_from=first.weights))


def test_it_learns(learnt, windows):
    cases = read_cases(windows)[:2]
    before, after = (evaluate(Predictor(learnt(str(n), steps=n)), cases)["nll"] for n in (1, 40))
    assert after < 0.7 * before


@pytest.mark.parametrize(("head", "options"), [("low_rank", {"rank": 2}), ("dropout", {})])
def test_heads_are_trained_with_the_backbone(learnt, head, options):
    assert learnt("one", head, head_options=options).checksum


@pytest.mark.parametrize("head", ["laplace", "l_fusion"])
def test_a_head_of_which_anything_is_fitted_afterwards_is_refused(learnt, head):
    with pytest.raises(BundleError, match=rf"'{head}' is fitted to a trained network"):
        learnt("one", head)


def test_beside_probes_that_leave_the_network_alone_it_learns_all_the_same(learnt, windows):
    """SegWithU takes the network as it is: by its loss alone the probes would learn what a blind network gets wrong."""
    cases, options = read_cases(windows)[:2], {"head_options": {"taps": {"up_0": 16}}}
    first, last = (learnt(str(steps), "segwithu", steps=steps, **options) for steps in (1, 40))
    before, after = (evaluate(Predictor(bundle), cases)["nll"] for bundle in (first, last))
    assert after < 0.7 * before
    probes = [load_file(bundle.weights)["head.probes.vector.weight"] for bundle in (first, last)]
    assert not np.array_equal(*probes)


def test_it_learns_the_same_from_cases_that_memory_cannot_hold(learnt, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole = learnt("whole")
    monkeypatch.setattr(case_cache, "SHARE", 0.0)
    assert same(whole, learnt("part"))
    assert case_cache.CaseStore(case_cache.user_cases()).size()[1] == 2
