"""What an annotator will want soon is made while they correct: it keeps nobody waiting, and changes nothing."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.servers import poll

JOBS = "/uncertainty/v1/jobs"


@pytest.fixture(scope="module")
def server(tiny_server):
    """Its model sees `small` in some 60 windows of a few milliseconds, and `large` in more than a thousand."""
    volume = nib.load(tiny_server.studies / "case_0.nii.gz")
    for name, times in (("small", 2), ("large", 6)):
        path = tiny_server.studies.parent / f"{name}.nii.gz"
        tiled = np.tile(volume.get_fdata(dtype=np.float32), (times, times, times))
        nib.Nifti1Image(tiled, volume.affine).to_filename(path)
        with path.open("rb") as file:
            assert tiny_server.http.put("/datastore/image", files={"file": file}).json() == {"image": name}
    yield tiny_server
    tiny_server.cancel_all()
    for name in ("small", "large"):
        tiny_server.http.delete(f"/datastore/image?id={name}")


@pytest.fixture
def prefetch(server):
    """Starts a prefetch of the large scan; `seed` makes it one of its own."""

    def begin(seed: int, **fields) -> str:
        asked = {"kind": "infer", "model": server.model, "image": "large", "params": {"seed": seed}}
        return server.job(**asked, priority="prefetch", **fields)

    yield begin
    server.cancel_all()


def windows(job: dict) -> int | None:
    found = re.search(r"(\d+) of \d+ windows", job["stage"])
    return int(found[1]) if found else None


class Watch:
    """Looks at the jobs all the time, and notes how many windows of one were done while clicks were worked on."""

    def __init__(self, server, job_id: str) -> None:
        self.seen: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        self._server, self._job, self._over = server, job_id, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            jobs = self._server.http.get(JOBS).json()
            done = next((windows(job) for job in jobs if job["id"] == self._job), None)
            paused = any(job["id"] == self._job and job["stage"].endswith("paused") for job in jobs)
            for job in jobs:
                if job["kind"] == "condition" and job["state"] == "running" and done is not None:
                    self.seen[job["id"]].append((done, paused))


def test_a_click_waits_for_no_more_than_one_window_of_a_prefetch_which_ends_as_if_alone(server):
    clicked = server.infer(server.model, "case_0")["result"]["risk"]["result"]
    asked = {"kind": "infer", "model": server.model, "image": "small", "params": {"samples": 40}}
    job = server.job(**asked, priority="prefetch")
    poll(lambda: (windows(server.state(job)) or 0) >= 2, every=0.005)
    with Watch(server, job) as watch:
        for place in range(6):
            click = {"organ": [[8 + place, 8, 8]]}
            reply = server.http.post(f"/uncertainty/v1/results/{clicked}/condition", json=click)
            assert reply.status_code == 200, reply.text
    assert watch.seen, "no click was seen at work"
    for seen in watch.seen.values():
        done = [count for count, _ in seen]
        assert max(done) - min(done) <= 1
    assert any(paused for seen in watch.seen.values() for _, paused in seen)
    result = server.ended(job)["result"]["risk"]
    alone = server.infer(server.model, "small", samples=41)["result"]["risk"]  # maps and label take no samples
    assert alone["result"] != result["result"]
    for name in ("predictive_entropy", "error_probability"):
        first, second = (server.http.get(risk["maps"][name]["url"]).content for risk in (result, alone))
        assert first == second
    labels = [server.http.get(f"/uncertainty/v1/results/{r['result']}/label.nii.gz").content for r in (result, alone)]
    assert labels[0] == labels[1]


def test_who_asks_for_what_is_being_prefetched_joins_it_and_it_is_urgent(server, prefetch):
    job = prefetch(32)
    server.started(job)
    assert server.job(kind="infer", model=server.model, image="large", params={"seed": 32}) == job
    other = server.job(kind="infer", model=server.baseline, image="case_1", params={"seed": 320})
    assert server.ended(other)["state"] == "done"
    before = server.state(job)
    assert (before["state"], before["queue_position"]) == ("running", 0)
    server.wait_until(lambda: server.state(job)["fraction"] > before["fraction"])


def test_a_newer_prefetch_takes_the_place_of_the_annotators_own_older_one_only(server, prefetch):
    mine, others = prefetch(33, client_id="ann"), prefetch(34, client_id="ben")
    newer = prefetch(35, client_id="ann")
    assert server.state(mine)["state"] == "cancelled"
    assert "newer prefetch" in server.state(mine)["error"]
    assert {server.state(others)["state"], server.state(newer)["state"]} <= {"queued", "running"}
    assert prefetch(35, client_id="ann") == newer


def test_a_newer_prefetch_leaves_one_alone_for_whose_result_somebody_waits(server, prefetch):
    mine = prefetch(38, client_id="ann")
    server.started(mine)
    record = {"strategy": {"predictive_entropy": {"ts": 1, "score": 0.3}}}  # served since: a job of its own
    server.http.put("/datastore/image/info?image=large", data={"info": json.dumps(record)}).raise_for_status()
    wanted = server.job(kind="infer", model=server.model, image="large", params={"seed": 38})
    assert wanted != mine
    prefetch(39, client_id="ann")
    assert {server.state(job)["state"] for job in (mine, wanted)} == {"running"}
    record = {"strategy": None}
    server.http.put("/datastore/image/info?image=large", data={"info": json.dumps(record)}).raise_for_status()


def test_a_prefetch_comes_before_scores_and_after_what_somebody_waits_for(server, prefetch):
    running = server.job(kind="infer", model=server.model, image="large", params={"seed": 36})
    score = server.job(kind="score", model=server.model, image="large")
    wanted = prefetch(37)
    urgent = server.job(kind="infer", model=server.baseline, image="case_1", params={"seed": 36})
    listed = {job["id"]: job["queue_position"] for job in server.http.get(JOBS).json()}
    assert [listed[job] for job in (running, urgent, wanted, score)] == [0, 1, 2, 3]


def test_a_prefetch_leaves_no_score(server):
    def score() -> float | None:
        cases = server.http.get("/uncertainty/v1/cases", params={"model": server.baseline}).json()["cases"]
        return next(case["score"] for case in cases if case["id"] == "case_1")

    if score() is None:  # else somebody has asked before
        asked = {"kind": "infer", "model": server.baseline, "image": "case_1", "params": {"samples": 51}}
        assert server.ended(server.job(**asked, priority="prefetch"))["state"] == "done"
        assert score() is None
        assert server.ended(server.job(**asked))["state"] == "done"
        assert score() is not None


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"kind": "infer", "image": "large", "priority": "soon"}, 422, "priority"),
        ({"kind": "infer", "image": "large", "priority": 1}, 422, "priority"),
        ({"kind": "score", "priority": "prefetch"}, 400, "only an infer job can be a prefetch"),
        ({"kind": "infer", "image": "nowhere", "priority": "prefetch"}, 404, "nowhere"),
    ],
)
def test_a_bad_priority_is_refused(server, asked, status, said):
    reply = server.http.post(JOBS, json={"model": server.model, **asked})
    assert reply.status_code == status
    assert said in reply.json()["detail"]


def next_sample(server, strategy: str, **params) -> dict:
    reply = server.http.post(f"/activelearning/{strategy}", json={"client_id": "ann", **params})
    assert reply.status_code == 200, reply.text
    return reply.json()


def held(server) -> dict[str, str]:
    cases = server.http.get("/uncertainty/v1/cases").json()["cases"]
    return {case["id"]: case["lease"]["annotator"] for case in cases if case["lease"]}


@pytest.mark.parametrize("strategy", ["predictive_entropy", "random"])
def test_a_peek_says_what_will_be_served_and_takes_nothing(server, strategy):
    mine = next_sample(server, strategy, lease_minutes=5)["id"]
    before = server.http.get("/datastore/?output=all").json()
    peeked = next_sample(server, strategy, peek=True, exclude=[mine])
    assert peeked["id"] != mine
    assert held(server) == {mine: "ann"}
    assert server.http.get("/datastore/?output=all").json() == before  # of no case, whoever was served it before
    assert next_sample(server, strategy, peek=True, exclude=[mine], seed=peeked["seed"])["id"] == peeked["id"]
    assert next_sample(server, strategy, peek=True, exclude=server.images()).get("id") is None
    server.http.delete(f"/uncertainty/v1/cases/{mine}/lease", params={"client_id": "ann"})


def test_a_scan_that_a_client_has_is_not_sent_again(server):
    first = server.http.get("/datastore/image", params={"image": "case_1"})
    again = server.http.get(
        "/datastore/image", params={"image": "case_1"}, headers={"If-None-Match": first.headers["etag"]}
    )
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
