"""Training through the server: published only when it validates no worse, and never in the way of an inference."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from monailabel.client.client import MONAILabelClient

from uncertaintyseg import wire

FOREVER = {"epochs": 10_000, "learning_rate": 1e-4}  # each epoch is a little better, so that it does not stop


@pytest.fixture(scope="module")
def labelled(tiny_server) -> Iterator[list[str]]:
    """Five of the six images, with labels of the first model's task."""
    images = tiny_server.images()[:5]
    for image in images:
        path = tiny_server.folder / "labels" / f"{image}.nii.gz"
        assert tiny_server.put_label(image, path, model=tiny_server.model).status_code == 200
    yield images
    for image in images:
        tiny_server.remove_label(image)


def model(server, name: str) -> wire.Model:
    return wire.Model.model_validate(server.http.get(f"/uncertainty/v1/models/{name}").json())


def train(server, name: str, **params) -> wire.TrainResult:
    job = server.ended(server.job(kind="train", model=name, params=params))
    assert job["state"] == "done", job
    return wire.TrainResult.model_validate(job["result"])


def test_a_model_cannot_be_trained_without_labels_of_its_task(tiny_server):
    reply = tiny_server.http.post(f"/train/{tiny_server.model}")
    assert reply.status_code == 400
    assert "at least two images with a final label of the task 'tiny'" in reply.json()["detail"]


def test_labels_made_with_a_model_of_another_task_do_not_count(tiny_server, labelled):
    reply = tiny_server.http.post("/uncertainty/v1/jobs", json={"kind": "train", "model": "phantom_low_rank"})
    assert reply.status_code == 400
    assert "there are 0" in reply.json()["detail"]


def test_better_weights_are_in_use_without_a_restart_and_the_old_ones_come_back(tiny_server, labelled):
    name, image = tiny_server.model, labelled[0]
    before, old = model(tiny_server, name), tiny_server.infer(name, image)["result"]["risk"]
    result = train(tiny_server, name, scope="head", epochs=2)
    assert result.published, result.reason
    assert result.record.after["nll"] < result.record.before["nll"]
    assert result.record.training_cases + result.record.validation_cases == len(labelled)

    after = model(tiny_server, name)
    assert after.checksum == result.record.checksum != before.checksum
    assert [version.origin for version in after.versions] == ["before training", "trained"]
    assert after.version == result.version == 2
    assert tiny_server.http.get("/info/").json()["models"][name]["checksum"] == after.checksum
    assert tiny_server.http.get("/info/").json()["train_stats"][name]["version"] == 2
    new = tiny_server.infer(name, image)["result"]["risk"]
    assert new["result"] != old["result"]
    assert new["provenance"]["weights_checksum"] == after.checksum

    restored = tiny_server.http.post(f"/uncertainty/v1/models/{name}/restore", json={"version": 1}).json()
    assert restored["checksum"] == before.checksum
    assert tiny_server.infer(name, image)["result"]["risk"]["result"] == old["result"]
    reply = tiny_server.http.post(f"/uncertainty/v1/models/{name}/restore", json={"version": 9})
    assert (reply.status_code, "no version 9; there are 1, 2" in reply.json()["detail"]) == (400, True)


def test_worse_weights_are_not_published(tiny_server, labelled):
    assert train(tiny_server, tiny_server.baseline, epochs=8, learning_rate=0.01).published
    before = model(tiny_server, tiny_server.baseline)
    result = train(tiny_server, tiny_server.baseline, epochs=1, learning_rate=1.0)
    assert not result.published
    assert result.version is None
    assert "the validation" in result.reason
    assert model(tiny_server, tiny_server.baseline) == before


def test_a_fitted_head_is_fitted_again_but_never_trained_as_a_whole(tiny_server, labelled):
    assert train(tiny_server, "tiny_temperature", scope="head").published
    job = tiny_server.ended(tiny_server.job(kind="train", model="tiny_temperature", params={"scope": "whole"}))
    assert job["state"] == "failed"
    assert "'tiny_deterministic' as a whole" in job["error"]


def test_an_inference_does_not_wait_for_a_training_which_can_be_cancelled(tiny_server, labelled):
    before = model(tiny_server, tiny_server.model)
    training = tiny_server.job(kind="train", model=tiny_server.model, params=FOREVER)
    tiny_server.wait_until(lambda: "epoch" in tiny_server.state(training)["stage"])
    assert tiny_server.infer(tiny_server.baseline, labelled[1], seed=5)["state"] == "done"
    state = tiny_server.state(training)
    assert state["state"] == "running"
    assert 0 < state["fraction"] < 1
    assert state["eta_s"] > 0
    niceness = [child.nice() for child in psutil.Process(tiny_server.process.pid).children(recursive=True)]
    assert min(19, psutil.Process(tiny_server.process.pid).nice() + 19) in niceness
    kept = tiny_server.folder / "models" / ".candidates" / tiny_server.model / "training"
    tiny_server.wait_until(lambda: list(kept.glob("*.pt")))  # the same training goes on from here
    tiny_server.cancel(training)
    assert tiny_server.state(training)["state"] == "cancelled"
    assert list(kept.glob("*.pt"))
    assert model(tiny_server, tiny_server.model) == before


def test_a_second_training_waits_for_the_first(tiny_server, labelled):
    first = tiny_server.job(kind="train", model=tiny_server.model, params=FOREVER)
    second = tiny_server.job(kind="train", model=tiny_server.baseline, params=FOREVER)
    tiny_server.wait_until(lambda: tiny_server.state(first)["state"] == "running")
    assert tiny_server.state(second)["queue_position"] == 1
    tiny_server.cancel(second)
    tiny_server.cancel(first)


def test_the_stock_client_starts_watches_and_stops_a_training(tiny_server, labelled, tmp_path):
    client = MONAILabelClient(tiny_server.url, tmpdir=str(tmp_path))
    task = client.train_start(tiny_server.model, {"max_epochs": 10_000, "pretrained": True})
    assert task["status"] in ("SUBMITTED", "RUNNING")
    tiny_server.wait_until(lambda: client.train_status()["status"] == "RUNNING")
    assert client.train_status(check_if_running=True) is True
    assert client.train_status()["id"] == task["id"]
    assert client.train_stop()["status"] == "STOPPED"
    assert tiny_server.http.get("/train/?check_if_running=true").status_code == 404


def test_all_trainings_are_started_at_once_and_each_refusal_has_its_reason(tiny_server, labelled):
    params = {"phantom_low_rank": {}, tiny_server.model: {"max_epochs": 1, "scope": "head"}}
    answer = tiny_server.http.post("/train/", json=params).json()
    assert answer["phantom_low_rank"]["result"] is None
    assert "final label" in answer["phantom_low_rank"]["detail"]
    assert tiny_server.ended(answer[tiny_server.model]["result"]["id"])["state"] == "done"


def test_a_synchronous_training_answers_with_its_end(tiny_server, labelled):
    reply = tiny_server.http.post(f"/train/{tiny_server.model}?run_sync=true", json={"max_epochs": 1, "scope": "head"})
    assert wire.TrainResult.model_validate(reply.json()).record.scope == "head"


@pytest.mark.parametrize("params", [{"epochs": -1}, {"scope": "tail"}, {"learning_rate": 0}, {"misspelt": 1}])
def test_wrong_parameters_are_named(tiny_server, labelled, params):
    request = {"kind": "train", "model": tiny_server.model, "params": params}
    reply = tiny_server.http.post("/uncertainty/v1/jobs", json=request)
    assert reply.status_code == 400
    assert next(iter(params)) in reply.json()["detail"]


def test_without_reserved_cases_a_calibration_says_how_to_reserve_them(tiny_server, labelled):
    reply = tiny_server.http.post("/uncertainty/v1/jobs", json={"kind": "calibrate", "model": tiny_server.model})
    assert reply.status_code == 400
    assert '"purpose": "calibration"' in reply.json()["detail"]
