"""What a client sees while an inference takes long, and what a cancel or a crash leaves behind."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest


def worker_processes(server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


def inferences(server) -> list[str]:
    """Those that wait or run; new images may be scored meanwhile."""
    return [job["id"] for job in server.http.get("/uncertainty/v1/jobs").json() if job["kind"] == "infer"]


class LongInference:
    """A stock client's request that waits for a big scan."""

    def __init__(self, server, image: str, seed: int) -> None:
        self.answers: list[httpx.Response] = []
        url = f"{server.url}/infer/{server.model}?image={image}"
        params = {"params": json.dumps({"seed": seed})}
        self.thread = threading.Thread(target=lambda: self.answers.append(httpx.post(url, data=params, timeout=300)))
        self.thread.start()
        [self.id] = server.wait_until(lambda: inferences(server))
        server.started(self.id)


@pytest.fixture(scope="module")
def busy(server, cached, big_image) -> Iterator[LongInference]:
    """One inference for all tests of this module that only look on."""
    running = LongInference(server, big_image, seed=1)
    yield running
    server.cancel(running.id)
    running.thread.join()


def test_info_does_not_wait_for_an_inference(server, busy):
    for _ in range(5):
        assert server.http.get("/info/").status_code == 200
    assert server.state(busy.id)["state"] == "running"


def test_progress_stage_and_time_left_are_told(server, busy):
    state = server.state(busy.id)
    assert 0 < state["fraction"] < 1
    assert state["stage"]
    assert state["eta_s"] > 0
    assert server.wait_until(lambda: server.state(busy.id)["fraction"] > state["fraction"])


def test_a_queued_job_knows_its_place_and_a_cancelled_one_never_runs(server, busy, image):
    queued = server.job(kind="infer", model=server.baseline, image=image, params={"seed": 7})
    state = server.state(queued)
    assert (state["state"], state["queue_position"], state["fraction"]) == ("queued", 1, 0.0)
    server.cancel(queued)
    assert server.state(queued)["state"] == "cancelled"
    assert server.state(busy.id)["state"] == "running"


def test_a_score_job_lets_inferences_pass(server, busy, image):
    score = server.job(kind="score", model=server.model, image="big")
    infer = server.job(kind="infer", model=server.baseline, image=image, params={"seed": 8})
    places = {job["id"]: job["queue_position"] for job in server.http.get("/uncertainty/v1/jobs").json()}
    server.cancel(score)
    server.cancel(infer)
    assert (places[busy.id], places[infer]) == (0, 1)
    assert places[score] > 1


def test_a_result_that_is_there_does_not_wait(server, busy, cached):
    assert server.state(server.job(kind="infer", model=server.baseline, image=cached))["state"] == "done"
    assert server.state(busy.id)["state"] == "running"


def test_the_same_inference_is_one_job_however_many_ask(server, busy, big_image):
    assert server.job(kind="infer", model=server.model, image=big_image, params={"seed": 1}) == busy.id
    url = f"{server.url}/infer/{server.model}?image={big_image}"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, data={"params": json.dumps({"seed": 1})}, timeout=0.5)
    time.sleep(0.3)
    assert server.state(busy.id)["state"] == "running"  # the others still wait


def test_a_client_that_leaves_cancels_what_nobody_else_waits_for(server, busy, image):
    url = f"{server.url}/infer/{server.baseline}?image={image}"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, data={"params": json.dumps({"seed": 77})}, timeout=0.5)
    server.wait_until(lambda: inferences(server) == [busy.id])


def test_cancel_answers_the_waiting_client_and_frees_the_worker(server, busy, image):
    assert server.cancel(busy.id).status_code == 204
    busy.thread.join(timeout=60)
    assert busy.answers[0].status_code == 409
    assert "cancelled" in busy.answers[0].json()["detail"]
    assert server.infer(server.baseline, image, seed=9)["state"] == "done"


def test_a_killed_worker_fails_its_job_only(server, big_image, image):
    running = LongInference(server, big_image, seed=2)
    for worker in worker_processes(server):  # another one may be there for what runs in the background
        worker.kill()
    running.thread.join(timeout=60)
    assert running.answers[0].status_code == 503
    assert "memory" in running.answers[0].json()["detail"]
    assert server.state(running.id)["state"] == "failed"
    assert server.infer(server.baseline, image, seed=10)["state"] == "done"


def test_a_worker_killed_while_idle_is_replaced(server, image):
    for worker in worker_processes(server):
        worker.kill()
        worker.wait(60)
    seeds = itertools.count(11)  # a job that comes before the pool has noticed fails
    server.wait_until(lambda: server.infer(server.baseline, image, seed=next(seeds))["state"] == "done")
