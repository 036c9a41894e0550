"""A device that fails is set aside and the others do its work; a scan that takes a process with it ends alone."""

from __future__ import annotations

import psutil
import pytest

from monailabel_app.errors import DeviceFailedError, WorkerLostError
from Testing.Python.monailabel_app.jobs.conftest import gone
from Testing.Python.servers import poll

GPUS = ("cuda:0", "cuda:1")  # by name: the work that is given to them needs none
FIRST_FAILS = (("cuda:0", "error"),)


def set_aside(bench) -> list[bool]:
    return [device["set_aside"] is not None for device in bench.queue.describe_devices()]


def test_what_a_failing_gpu_was_at_is_done_by_the_other_which_serves_alone_from_then_on(bench, caplog):
    two = bench(*GPUS)
    two.let("a", "b", "c", "d")
    first = two.submit("a", urgent=True, device="cuda", fails=FIRST_FAILS)
    assert first.outcome.result(60)["a"][0] == "cuda:1"
    assert [device for device, _ in two.runs("a")] == ["cuda:0", "cuda:1"]
    assert set_aside(two) == [True, False]
    said = two.queue.describe_devices()[0]
    assert "CUDA error: unspecified launch failure" in said["set_aside"]
    assert 0 < said["again_in_s"] <= 3600
    assert "device 0 (cuda:0) is set aside" in caplog.text
    rest = two.submit("b", "c", "d", device="cuda")
    assert {device for device, _ in rest.outcome.result(60).values()} == {"cuda:1"}


def test_a_process_whose_gpu_failed_computes_nothing_more(bench):
    two = bench(*GPUS)
    two.let("a")
    two.submit("a", urgent=True, device="cuda", fails=FIRST_FAILS).outcome.result(60)
    poll(lambda: gone(two.runs("a")[0][1]))


def test_it_is_tried_again_later_and_serves_again(bench):
    two = bench(*GPUS, aside=0.5)
    two.let("a", "c")
    two.submit("a", urgent=True, device="cuda", fails=FIRST_FAILS).outcome.result(60)
    poll(lambda: two.devices[0].left_alone == 0)
    again = two.submit("c", urgent=True, device="cuda").outcome.result(60)
    assert again["c"][0] == "cuda:0"
    assert set_aside(two) == [False, False]
    assert [device["done"] for device in two.queue.describe_devices()] == [1, 1]


def test_where_all_fail_the_error_is_told_and_each_job_tries_anew(bench):
    two = bench(*GPUS)
    all_fail = tuple((name, "error") for name in GPUS)
    with pytest.raises(DeviceFailedError, match="CUDA error: unspecified launch failure"):
        two.submit("a", urgent=True, device="cuda", fails=all_fail).outcome.result(60)
    assert [device for device, _ in two.runs("a")] == list(GPUS)
    two.let("b")
    assert two.submit("b", urgent=True, device="cuda").outcome.result(60)


def test_one_device_alone_gets_a_new_process_and_another_try(bench):
    one = bench("cuda:0")
    with pytest.raises(DeviceFailedError):
        one.submit("a", urgent=True, device="cuda:0", fails=FIRST_FAILS).outcome.result(60)
    assert len({process for _, process in one.runs("a")}) == 2
    one.let("b")
    assert one.submit("b", urgent=True, device="cuda:0").outcome.result(60)
    assert set_aside(one) == [False]


def test_want_of_memory_is_no_failure_of_the_device(bench):
    two = bench(*GPUS)
    with pytest.raises(WorkerLostError, match="ran out of memory on a"):
        two.submit("a", urgent=True, device="cuda", fails=(("cuda:0", "memory"),)).outcome.result(60)
    assert len(two.runs("a")) == 1
    assert set_aside(two) == [False, False]


def test_a_process_that_twice_in_a_row_dies_before_it_begins_costs_no_job_and_then_no_turn(bench):
    two = bench(*GPUS)
    two.let("a", "b", "c")
    for name, aside in (("a", False), ("b", True), ("c", True)):
        job = two.submit(name, urgent=True, device="cuda", fails=(("cuda:0", "exit"),))
        assert job.outcome.result(60)[name][0] == "cuda:1"
        assert set_aside(two) == [aside, False]
    assert [len(two.runs(name)) for name in "abc"] == [2, 2, 1]


def test_a_step_that_takes_two_processes_with_it_is_not_repeated(bench):
    two = bench(*GPUS)
    fails = tuple((name, "exit") for name in GPUS)
    with pytest.raises(WorkerLostError, match="its process was killed"):
        two.submit("a", urgent=True, device="cuda", fails=fails).outcome.result(60)
    assert len(two.runs("a")) == 2


def test_a_scan_that_kills_its_process_at_work_is_told_at_once_and_the_rest_of_its_job_is_done(bench):
    two = bench(*GPUS)
    fails = tuple((name, "killed") for name in GPUS)
    with pytest.raises(WorkerLostError, match="its process was killed"):
        two.submit("a", urgent=True, device="cuda", fails=fails).outcome.result(60)
    assert len(two.runs("a")) == 1
    batch = two.submit("b", "c", "d", device="cuda")
    (_, process), _ = two.begun("b", "c")
    psutil.Process(process).kill()
    two.let("c", "d")
    assert batch.outcome.result(60).keys() == {"c", "d"}
    assert isinstance(batch.errors["b"], WorkerLostError)
    assert len(two.runs("b")) == 1
    assert set_aside(two) == [False, False]


def test_a_process_that_died_while_idle_costs_no_job(bench):
    one = bench("cpu")
    one.let("a", "b")
    one.submit("a", urgent=True).outcome.result(60)
    [(_, process)] = one.runs("a")
    psutil.Process(process).kill()
    poll(lambda: gone(process))
    assert one.submit("b", urgent=True).outcome.result(60)
