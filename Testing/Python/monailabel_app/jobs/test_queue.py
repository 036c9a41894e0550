"""Jobs on several devices: who waits goes first, the rest goes on where nobody waits, and nothing is done twice."""

from __future__ import annotations

import pytest

from monailabel_app.errors import JobCancelledError
from monailabel_app.jobs import Device, Step, Worker, local_devices
from Testing.Python.monailabel_app.jobs.conftest import Bench, Noted, gone
from Testing.Python.monailabel_app.jobs.works import Hold, Threads
from Testing.Python.servers import poll
from uncertaintyseg.errors import InputError
from uncertaintyseg.workers.local import share_of_cores

KEY = "a" * 64


def test_as_many_wait_at_a_time_as_there_are_devices_and_the_next_gets_the_one_that_is_free_first(bench):
    two = bench("cpu", "cpu")
    first, second, third = (two.submit(name, urgent=True) for name in ("a", "b", "c"))
    two.begun("a", "b")
    devices = {two.device_of(first), two.device_of(second)}
    assert devices == set(two.devices)
    assert two.queue.describe(third.id).queue_position == 2
    free = two.device_of(second)
    two.let("b")
    two.begun("c")
    assert two.device_of(third) is free
    two.let("a", "c")
    assert [job.outcome.result(60) for job in (first, second, third)]
    assert [device["done"] for device in two.queue.describe_devices()] in ([1, 2], [2, 1])


def test_steps_of_one_background_job_are_done_on_all_devices_end_in_any_order_and_are_each_delivered_once(bench):
    two = bench("cpu", "cpu")
    job = two.submit("a", "b", "c", "d", "e")
    two.begun("a", "b")
    assert {lane.device for lane in two.queue._places.at(job)} == set(two.devices)
    said = two.queue.describe(job.id)
    assert (said.state, said.stage) == ("running", "holding, images 1 to 2 of 5")
    assert said.fraction == pytest.approx(0.2, abs=0.101)
    assert two.queue.files() == {f"{name}.nii.gz" for name in "abcde"}
    two.let("b")
    two.begun("c")
    fraction = two.queue.describe(job.id).fraction
    assert fraction > 0.2
    two.let("c")
    two.begun("d")
    assert two.queue.describe(job.id).eta_s > 0
    assert two.queue.files() == {"a.nii.gz", "d.nii.gz", "e.nii.gz"}
    two.let("d", "e", "a")
    assert job.outcome.result(60).keys() == set("abcde")
    assert [name for name, _ in job.answers][:2] == ["b", "c"]
    assert sorted(name for name, _ in job.answers) == list("abcde")
    assert all(len(two.runs(name)) == 1 for name in "abcde")


def test_who_waits_lets_the_background_of_one_device_stand_still_and_that_of_the_other_go_on(bench):
    two = bench("cpu", "cpu")
    batch = two.submit("a", "b", "c")
    two.begun("a", "b")
    urgent = two.submit("u", urgent=True)
    two.begun("u")
    still = two.device_of(urgent)
    [other] = [device for device in two.devices if device is not still]
    poll(lambda: still.background.worker.progress()[0] == "holding, paused")
    standing, going = still.background.step.image, other.background.step.image
    ticks = two.ticks(standing)
    two.goes_on(going)
    assert two.ticks(standing) == ticks
    two.let(going)
    two.begun("c")  # it goes on with the job as well
    assert other.background.step.image == "c"
    two.let("u")
    urgent.outcome.result(60)
    two.goes_on(standing)
    two.let(standing, "c")
    assert batch.outcome.result(60).keys() == set("abc")


def test_who_waits_gets_the_device_where_nothing_has_to_stand_still(bench):
    two = bench("cpu", "cpu")
    batch = two.submit("a")
    two.begun("a")
    urgent = two.submit("u", urgent=True)
    two.begun("u")
    assert two.device_of(urgent) is not two.device_of(batch)
    two.goes_on("a")


def test_a_cancel_kills_every_process_that_is_at_the_job_and_the_devices_go_on(bench):
    two = bench("cpu", "cpu")
    job, after = two.submit("a", "b", "c"), two.submit("x", "y")
    processes = [process for _, process in two.begun("a", "b")]
    two.queue.cancel(job.id)
    with pytest.raises(JobCancelledError):
        job.outcome.result(0)
    poll(lambda: all(map(gone, processes)))
    two.let("a", "b", "c")
    two.begun("x", "y")
    two.let("x", "y")
    assert after.outcome.result(60).keys() == set("xy")
    assert job.answers == []
    assert two.runs("c") == []


def test_the_same_result_is_never_made_twice_at_a_time_and_serves_all_who_ask_for_it(bench):
    two = bench("cpu", "cpu")
    batch = two.submit("a", "b", key=KEY)
    two.begun("a")
    urgent = two.submit("u", urgent=True, key=KEY)
    assert two.queue.describe(urgent.id).state == "running"  # the batch makes it
    other = two.submit("other", urgent=True)
    two.begun("other")
    two.goes_on("a")  # somebody waits for it: it does not stand still, wherever the others are
    two.let("a", "other")
    assert urgent.outcome.result(60) == {"u": KEY}
    assert batch.outcome.result(60) == {"a": KEY, "b": KEY}
    other.outcome.result(60)
    assert (two.runs("b"), two.runs("u")) == ([], [])


def test_a_step_that_cannot_be_made_is_named_and_the_others_are_done(bench):
    two = bench("cpu", "cpu")

    def missing() -> Hold:
        raise InputError("no such scan")

    works = {name: Hold(name, str(two.folder)) for name in "abc"}
    steps = [Step(name, work, missing if name == "b" else (lambda work=work: work)) for name, work in works.items()]
    two.let("a", "b", "c")
    job = two.queue.submit(Noted(steps, urgent=False))
    assert job.outcome.result(60).keys() == {"a", "c"}
    assert str(job.errors["b"]) == "no such scan"


def test_a_place_without_an_answering_worker_has_background_work_alone(tmp_path):
    here, away = Device("cpu", Worker(), Worker()), Device("cpu", None, Worker())
    both = Bench(tmp_path, [here, away])
    try:
        both.queue.warm_up()
        urgent, waits = both.submit("u", urgent=True), both.submit("w", urgent=True)
        batch = both.submit("a", "b")
        both.begun("u", "a")
        assert (both.device_of(urgent), both.device_of(batch)) == (here, away)
        assert (both.runs("w"), both.runs("b")) == ([], [])
        both.let("u", "w", "a", "b")
        assert all(job.outcome.result(60) for job in (urgent, waits, batch))
    finally:
        both.queue.close()


def test_workers_on_the_cpu_share_its_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    devices = local_devices(["cpu", "cpu"])
    try:
        threads = [device.answering.worker.submit(Threads()).result() for device in devices]
    finally:
        for lane in (lane for device in devices for lane in device.lanes):
            lane.end()
    assert threads == [share_of_cores(2)] * 2
