"""An evaluation over two Ray nodes of which one is killed in the middle: the figures are those of one process."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial

import pytest

pytest.importorskip("ray")

from Testing.Python.uncertaintyseg import tiny
from Testing.Python.uncertaintyseg.workers.ray_nodes import two_nodes
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.inference.case_figures import score_case
from uncertaintyseg.inference.case_loop import ByWorkers, PredictorSpec
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.model_hash import model_hash
from uncertaintyseg.inference.shipping import shipped
from uncertaintyseg.workers.ray_cluster import connected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's own tool for clusters does not run there")


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as cluster, connected(cluster.address):
        yield cluster


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny.write_phantoms(folder, 8, **tiny.COARSE)
    return read_cases(folder)


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> PredictorSpec:
    bundle = tiny.give_random_weights(tiny.write_bundle(tmp_path_factory.mktemp("models"), **tiny.COARSE_MODEL))
    return PredictorSpec(bundle.folder, model_hash(bundle))


def over_ray(spec, **options) -> ByWorkers:
    from uncertaintyseg.workers.ray_crew import RayCrew

    return ByWorkers(spec, lambda: RayCrew(2, 1, **options), elsewhere=True)


def told_to_nobody(stage, fraction):
    pass


def plain(result) -> str:
    def without_seconds(value):
        if isinstance(value, dict):
            return {key: without_seconds(part) for key, part in value.items() if "seconds" not in key}
        return [without_seconds(part) for part in value] if isinstance(value, list) else value

    return json.dumps(without_seconds(result), sort_keys=True)


def test_scans_go_as_bytes_or_by_a_path_that_every_node_sees(nodes, spec, cases):
    gone = replace(cases[0], id="gone", image=cases[0].image.with_name("gone.nii.gz"))
    outcomes = {
        outcome.item.id: outcome for outcome in over_ray(spec).each(score_case, [gone, cases[0]], told_to_nobody)
    }
    assert "node" in outcomes["gone"].error
    assert "does not see it" in outcomes["gone"].error
    assert outcomes["case_0"].error is None
    by_bytes = over_ray(spec, pack=partial(shipped, channels=1))
    (outcome,) = by_bytes.each(score_case, cases[:1], told_to_nobody)
    assert outcome.item is cases[0]
    assert plain(outcome.answer["row"]) == plain(outcomes["case_0"].answer["row"])


def test_an_evaluation_survives_the_death_of_a_node_with_the_same_figures(nodes, spec, cases):
    def killing(case, kept):
        if len(nodes.nodes) == 2:
            nodes.remove_node(nodes.nodes.pop(), allow_graceful=False)

    predictor = spec.load()
    here = evaluate(predictor, cases)
    there = evaluate(predictor, cases, take=killing, loop=over_ray(spec))
    assert there["failed"] == {}
    assert plain(there) == plain(here)
