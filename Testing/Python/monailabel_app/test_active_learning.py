"""Which image comes next, and why."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from monailabel.client.client import MONAILabelClient


def next_sample(server, strategy: str, **params) -> dict:
    answer = server.http.post(f"/activelearning/{strategy}", json=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def scores(server) -> dict[str, float]:
    """Scores of all images by the baseline model."""
    state = server.ended(server.job(kind="score", model=server.baseline))
    assert state["state"] == "done", state
    return state["result"]["scores"]


def test_a_score_job_scores_every_unlabelled_image(server, scores):
    assert set(scores) == set(server.images())
    assert all(score > 0 for score in scores.values())


def test_scores_are_kept_in_the_image_records_with_the_weights_that_made_them(server, scores, image):
    records = json.loads((server.studies / "datastore_v2.json").read_text())
    kept = records["objects"][image]["image"]["info"]["scores"][server.baseline]
    assert kept["predictive_entropy"] == scores[image]
    assert kept["checksum"] == server.http.get("/info/").json()["models"][server.baseline]["checksum"]


def test_a_second_score_job_has_nothing_to_do(server, scores):
    state = server.state(server.job(kind="score", model=server.baseline))
    assert (state["state"], state["result"]["scores"]) == ("done", scores)


def test_predictive_entropy_serves_the_highest_score_and_says_why(server, scores):
    sample = next_sample(server, "predictive_entropy", model=server.baseline)
    assert sample["id"] == max(scores, key=scores.get)
    assert sample["score"] == max(scores.values())
    assert sample["strategy"] == "predictive_entropy"
    assert sample["remaining"] == {"unlabelled": len(scores), "scored": len(scores)}
    assert sample["reason"].startswith(f"{server.baseline}: mean predictive entropy {sample['score']:.3f} nats")
    assert sample["reason"].endswith(f"rank 1 of {len(scores)}")


def test_a_stock_client_that_names_no_model_gets_the_model_with_most_scores(server, scores):
    assert next_sample(server, "predictive_entropy", client_id="slicer")["model"] == server.baseline


def test_the_answer_stays_the_same_however_often_it_is_asked(server, scores):
    first, second = (next_sample(server, "predictive_entropy", model=server.baseline) for _ in range(2))
    assert (first["id"], first["strategy"]) == (second["id"], second["strategy"])


def test_a_labelled_image_is_not_served_again(server, scores, image, saved_label):
    sample = next_sample(server, "predictive_entropy", model=server.baseline)
    assert sample["id"] != image
    assert sample["remaining"]["unlabelled"] == len(scores) - 1
    assert next_sample(server, "random")["id"] != image


def test_a_model_without_scores_serves_an_image_and_asks_for_a_score_job(server):
    model = server.baseline.replace("deterministic", "mixture_of_bases")
    sample = next_sample(server, "predictive_entropy", model=model)
    assert sample["id"] in server.images()
    assert sample["score"] is None
    assert "score job" in sample["reason"]


def test_random_never_fails_when_everything_was_just_served(server):
    samples = [next_sample(server, "random") for _ in range(20)]
    images = server.images()
    assert {sample["id"] for sample in samples} <= set(images)
    assert {sample["reason"] for sample in samples} == {f"drawn at random from {len(images)} images without a label"}


def test_images_come_in_the_order_of_their_scores_until_none_is_left(server, scores, tmp_path):
    served = []
    while "id" in (sample := next_sample(server, "predictive_entropy", model=server.baseline)):
        served.append(sample["id"])
        scan, path = nib.load(server.studies / f"{served[-1]}.nii.gz"), tmp_path / "label.nii.gz"
        nib.Nifti1Image(np.ones(scan.shape, np.uint8), scan.affine).to_filename(path)
        assert server.put_label(served[-1], path).status_code == 200
    assert served == sorted(scores, key=scores.get, reverse=True)
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    for strategy in ("random", "predictive_entropy"):
        sample = client.next_sample(strategy, {})
        assert "id" not in sample
        assert f"all {len(scores)} images" in sample["reason"]
    assert server.state(server.job(kind="score", model=server.baseline))["result"]["scores"] == {}
    for image in served:
        server.remove_label(image)


def test_an_inference_scores_its_image(server, image):
    server.infer(server.model, image)
    info = server.http.get(f"/datastore/image/info?image={image}").json()
    assert server.model in info["scores"]


def test_the_stock_scoring_routes_go_to_our_queue(server, scores):
    task = server.http.post("/scoring/predictive_entropy", json={"model": server.baseline}).json()
    assert task["status"] == "DONE"
    assert server.http.get("/scoring/").json()["id"] == task["id"]
    assert server.http.get("/scoring/?check_if_running=true").status_code == 404
    assert server.http.delete("/scoring/").json() is None
    assert server.http.post("/scoring/").status_code == 400  # several models: one must be named
    assert server.http.post("/scoring/dice", json={}).status_code == 404
