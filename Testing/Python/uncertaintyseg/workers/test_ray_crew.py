"""Actors on two Ray nodes of loopback: what they do, and what happens when one of them, or a node, is gone."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("ray")

from Testing.Python.uncertaintyseg.workers.ray_nodes import two_nodes
from Testing.Python.uncertaintyseg.workers.tasks import Broken, Double, Threads
from uncertaintyseg.errors import InputError, UncertaintySegError
from uncertaintyseg.workers import each
from uncertaintyseg.workers.ray_cluster import connected, room

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's own tool for clusters does not run there")


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as cluster, connected(cluster.address):
        yield cluster


def crew(size=2, **options):
    from uncertaintyseg.workers.ray_crew import RayCrew

    return RayCrew(size, 1, **options)


def done(items, task, **options):
    return sorted(each(items, task, crew(**options)), key=lambda outcome: outcome.item)


def test_every_item_is_done_once_by_workers_of_both_nodes(nodes, tmp_path):
    outcomes = done(range(6), Double(tmp_path, slow=0.2))
    assert [(outcome.answer, outcome.error) for outcome in outcomes] == [(2 * i, None) for i in range(6)]
    names = [path.name.split("_") for path in tmp_path.iterdir()]
    assert sorted(name for name, _ in names) == [str(i) for i in range(6)]
    assert len({pid for _, pid in names}) == 2


def test_what_an_item_lacks_is_said_of_it_and_a_deadly_one_is_named_after_two_workers(nodes, tmp_path):
    below, first, second, third = done([1, -1, 2, 3], Double(tmp_path, deadly=(2,), deadly_once=(3,)))
    assert (below.error, below.died, first.answer, third.answer) == ("-1 is below 0", False, 2, 6)
    assert second.died
    assert "2 workers died of it (its process or its node ended)" in second.error
    assert len(list(tmp_path.glob("2_*"))) == len(list(tmp_path.glob("3_*"))) == 2


def test_an_item_that_cannot_be_sent_is_said_and_the_others_go_on(nodes, tmp_path):
    def pack(item):
        if item == 1:
            raise InputError("item 1 cannot be read")
        return item

    zero, one = done(range(2), Double(tmp_path), pack=pack)
    assert (zero.answer, one.error) == (0, "item 1 cannot be read")


def test_a_worker_uses_as_many_threads_as_it_is_given(nodes):
    (outcome,) = done([0], Threads(), size=1)
    assert outcome.answer == (1, "1")


def test_a_node_that_cannot_get_ready_ends_it_and_is_named(nodes):
    with pytest.raises(UncertaintySegError, match=r"node .*: there is no model here"):
        done([0], Broken())


def test_a_cluster_without_room_says_what_is_free(nodes, tmp_path, monkeypatch):
    from uncertaintyseg.workers import ray_crew

    monkeypatch.setattr(ray_crew, "_ROOM", 0.0)
    monkeypatch.setattr(ray_crew, "_PATIENCE", 0.5)
    with pytest.raises(UncertaintySegError, match=r"no room for a worker of 5 cores .* cores and 0 GPUs are free"):
        list(each([0], Double(tmp_path), ray_crew.RayCrew(1, 5)))


def test_workers_are_one_a_node_unless_somebody_says_otherwise(nodes):
    assert room(gpus=False) == (2, 1)
    assert room(gpus=False, workers=4) == (4, 1)
    assert room(gpus=False, workers=1, threads=3) == (1, 3)
    with pytest.raises(UncertaintySegError, match="no node with a free GPU"):
        room(gpus=True)


def test_a_node_that_is_killed_in_the_middle_costs_no_item(nodes, tmp_path):
    outcomes = []
    for outcome in each(range(8), Double(tmp_path, slow=0.5), crew()):
        outcomes.append(outcome)
        if len(outcomes) == 2:
            nodes.remove_node(nodes.nodes.pop(), allow_graceful=False)
    assert sorted(outcome.item for outcome in outcomes) == list(range(8))
    assert all(outcome.answer == 2 * outcome.item for outcome in outcomes)
