"""Many images at once: labels saved beside those of people, and one damaged scan does not end the batch."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def damaged(tiny_server):
    path = tiny_server.studies / "damaged.nii.gz"
    path.write_bytes(b"no scan")
    tiny_server.wait_until(lambda: "damaged" in tiny_server.images())
    yield "damaged"
    assert tiny_server.http.delete("/datastore/image?id=damaged").status_code == 200


def labels(server, image: str) -> dict:
    return server.http.get("/datastore/?output=all").json()["objects"][image]["labels"]


def test_every_label_is_saved_as_original_and_a_damaged_scan_is_named(tiny_server, damaged):
    job = tiny_server.ended(tiny_server.job(kind="batch", model=tiny_server.baseline, images="unlabeled"))
    assert job["state"] == "done"
    assert set(job["result"]["failed"]) == {damaged}
    assert damaged in job["result"]["failed"][damaged]
    results = job["result"]["results"]
    assert set(results) == set(tiny_server.images()) - {damaged}
    for image, key in results.items():
        label = labels(tiny_server, image)["original"]["info"]
        assert (label["model"], label["result"]) == (tiny_server.baseline, key)
        saved = nib.load(tiny_server.studies / "labels" / "original" / f"{image}.nii.gz")
        assert saved.shape == nib.load(tiny_server.studies / f"{image}.nii.gz").shape
        assert saved.get_data_dtype() == np.uint8
    assert tiny_server.http.get("/info/").json()["datastore"]["completed"] == 0


def test_the_stock_route_takes_a_tag_and_a_size_and_tells_its_state(tiny_server):
    params = {"label_tag": "second", "max_batch_size": 2, "device": "cuda", "max_workers": 1}
    task = tiny_server.http.post(f"/batch/infer/{tiny_server.baseline}?images=all", json=params).json()
    assert tiny_server.ended(task["id"])["state"] == "done"
    status = tiny_server.http.get("/batch/infer").json()
    assert (status["id"], status["status"]) == (task["id"], "DONE")
    assert len([image for image in tiny_server.images() if "second" in labels(tiny_server, image)]) == 2


def test_a_synchronous_batch_answers_with_its_end(tiny_server):
    url = f"/batch/infer/{tiny_server.baseline}?run_sync=true"
    answer = tiny_server.http.post(url, json={"max_batch_size": 1}).json()
    assert list(answer["results"]) == tiny_server.images()[:1]


def test_a_batch_of_named_images_refuses_unknown_ones_and_final_labels(tiny_server):
    request = {"kind": "batch", "model": tiny_server.baseline}
    reply = tiny_server.http.post("/uncertainty/v1/jobs", json={**request, "images": ["nobody"]})
    assert reply.status_code == 404
    reply = tiny_server.http.post("/uncertainty/v1/jobs", json={**request, "params": {"label_tag": "final"}})
    assert reply.status_code == 400
    assert "approved" in reply.json()["detail"]
