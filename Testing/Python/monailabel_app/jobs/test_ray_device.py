"""Scoring by two Ray nodes beside a real queue: the same results as here, whatever becomes of the nodes."""

from __future__ import annotations

import contextlib
import shutil
import sys
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("ray")

from monailabel_app.jobs import Device, InferJob, JobQueue, Predict, ResultStore, ScoreJob, Step, Worker
from monailabel_app.jobs.lane import AtWork
from monailabel_app.jobs.ray_device import RayDevice, RayWorker
from monailabel_app.jobs.ray_work import Cluster
from Testing.Python.servers import poll
from Testing.Python.uncertaintyseg import tiny
from Testing.Python.uncertaintyseg.workers.ray_nodes import two_nodes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's own tool for clusters does not run there")
CASES = 6


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as cluster:
        yield cluster


@dataclass
class World:
    """A model and scans, and what this process makes of them with one thread."""

    folder: Path
    model: Path
    checksum: str
    expected: ResultStore

    def work(self, number: int, results: Path, **about: Any) -> Predict:
        key = f"{number:064x}"
        image = str(self.folder / "images" / f"case_{number}.nii.gz")
        return replace(
            Predict(key, image, str(self.model), self.checksum, 0, 8, "cpu", str(results)),
            case=f"case_{number}",
            **about,
        )

    def large(self, number: int) -> str:
        """A scan that takes a while, unlike any other."""
        case = nib.load(self.folder / "images" / "case_0.nii.gz")
        path = self.folder / f"large_{number}.nii.gz"
        tiled = np.tile(case.get_fdata(dtype=np.float32), (2, 2, 2)) + 0.001 * number
        nib.Nifti1Image(tiled, case.affine).to_filename(path)
        return str(path)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("ray")
    tiny.write_phantoms(folder, CASES)
    bundle = tiny.give_random_weights(tiny.write_bundle(folder / "models", "low_rank"))
    made = World(folder, bundle.folder, bundle.checksum, ResultStore(folder / "expected"))
    worker = Worker(threads=1)
    for number in range(CASES):
        assert worker.submit(made.work(number, made.expected.root)).result(120)
    worker.close()
    return made


class Bench:
    """A queue with a device here and a cluster, and what it stored."""

    def __init__(self, world: World, cluster: Any) -> None:
        self.world, self.store = world, ResultStore(world.folder / "results")
        workers = [RayWorker(Cluster(cluster.address, scans)) for scans in ("path", "bytes")]
        self.here, self.ray = Device("cpu", Worker(threads=1), Worker(threads=1)), RayDevice("cpu", workers)
        self.queue = JobQueue(self.store, [self.here, self.ray], Worker())

    def step(self, number: int, **about: Any) -> Step:
        return Step(f"case_{number}", self.world.work(number, self.store.root, **about))

    def score(self, *steps: Step) -> ScoreJob:
        return self.queue.submit(ScoreJob("tiny", steps, lambda step, report: None, {}))

    def check(self, *numbers: int) -> None:
        """Everything but the report, which says how long it took, is what is expected to the last bit."""
        for number in numbers:
            key = f"{number:064x}"
            found, wanted = self.store.files(key), self.world.expected.files(key)
            assert found.keys() == wanted.keys()
            assert {name for name in found if name != "report.json" and found[name] != wanted[name]} == set()
            told, known = self.store.report(key), self.world.expected.report(key)
            assert told.case_scores == known.case_scores
            assert told.risk.structures == known.risk.structures


@pytest.fixture(scope="module")
def started(nodes, world):
    with contextlib.chdir(world.folder):  # of this side alone: the nodes run elsewhere
        made = Bench(world, nodes)
        yield made
        made.queue.close()


@pytest.fixture
def both(started):
    """The queue, with no results yet and nothing counted."""
    shutil.rmtree(started.store.root)
    started.store.root.mkdir()
    started.here.done = started.ray.done = 0
    return started


def test_what_ray_scores_is_what_this_machine_does_whichever_way_scans_travel(both):
    result = both.score(*map(both.step, range(4))).outcome.result(120)
    assert result["failed"] == {}
    assert len(result["scores"]) == 4
    assert (both.here.done, both.ray.done) == (0, 4)
    assert all(lane.seconds for lane in both.ray.backgrounds)
    both.check(0, 1, 2, 3)
    told = both.queue.describe_devices()[1]
    assert told.pop("at_a_time") == 2
    assert told == {"device": "ray", "done": 4, "busy": False, "set_aside": None, "again_in_s": None}


def test_who_waits_is_served_here_and_gets_what_ray_is_at_when_it_is_through(both):
    scored = both.score(both.step(0))
    poll(lambda: any(lane.turn for lane in both.ray.backgrounds), every=0.001)
    same = both.queue.submit(InferJob("tiny", both.step(0)))
    soon = both.queue.submit(InferJob("tiny", both.step(1), prefetch_for="anna"))
    for job in (scored, same, soon):
        job.outcome.result(120)
    assert (both.here.done, both.ray.done) == (1, 1)
    both.check(0, 1)


def test_a_scan_that_cannot_be_read_is_named_and_the_others_are_scored(both, world):
    broken = world.folder / "broken.nii.gz"
    broken.write_bytes(b"no scan")
    result = both.score(both.step(9, image=str(broken)), both.step(1)).outcome.result(120)
    assert set(result["scores"]) == {"case_1"}
    assert "broken.nii.gz: not a readable NIfTI file" in result["failed"]["case_9"]
    assert both.ray.why is None


def test_a_model_that_ray_does_not_have_is_used_here_and_that_is_said_once(both, caplog):
    missing = {"bundle": "models/tiny_low_rank"}
    result = both.score(*(both.step(n, **missing) for n in range(4))).outcome.result(120)
    assert result["failed"] == {}
    assert (both.here.done, both.ray.done) == (4, 0)
    both.check(0, 1, 2, 3)
    said = "does not have the model models/tiny_low_rank of checksum"
    told = both.queue.describe_devices()[1]
    assert said in told["set_aside"]
    assert 0 < told["again_in_s"] <= 600
    assert caplog.text.count(said) == 1
    both.score(both.step(5)).outcome.result(120)  # other models go there as before
    assert both.ray.done == 1


def test_a_node_that_is_killed_costs_nothing_and_without_the_cluster_all_is_done_here(both, nodes, caplog):
    nodes.add_node(num_cpus=1)
    steps = [both.step(n, image=both.world.large(n)) for n in range(100, 104)]
    job = both.score(*steps)
    poll(lambda: all(lane.at_work for lane in both.ray.backgrounds))
    nodes.remove_node(nodes.nodes.pop(), allow_graceful=False)
    assert job.outcome.result(120)["failed"] == {}
    assert (both.here.done, both.ray.done) == (0, 4)
    rest = both.score(*map(both.step, range(CASES)))
    nodes.shutdown()
    assert rest.outcome.result(120)["failed"] == {}
    assert both.here.done > 0
    assert both.here.done + both.ray.done == 4 + CASES
    both.check(*range(CASES))
    assert both.queue.describe_devices()[1]["set_aside"]
    assert caplog.text.count("is set aside") == 1


def test_a_cluster_with_room_for_fewer_is_used_on_and_one_without_any_is_set_aside(world):
    device = RayDevice("cpu", [Worker(), Worker()])
    one, other = device.backgrounds
    one.at_work = other.at_work = AtWork(Future(), 0.0)
    work = world.work(0, world.folder)
    assert device.failed("room", "full", work)
    assert not device.left_alone
    other.leave()
    assert device.failed("room", "full", work)
    assert 50 < device.left_alone <= 60
    assert device.failed("work", "gone", work)  # what was at work there as well makes it no longer
    assert device.left_alone <= 60
    assert not device.failed("memory", "a scan that kills", work)
