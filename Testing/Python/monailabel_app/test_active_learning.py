"""Which image comes next, and why."""

from __future__ import annotations

import json

import pytest


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
    served = {next_sample(server, "random")["id"] for _ in range(20)}
    assert served <= set(server.images())


def test_at_the_end_of_the_list_there_is_no_id_but_a_reason(server, scores, saved_label, tmp_path):
    import nibabel as nib
    import numpy as np

    for image in server.images():
        scan = nib.load(server.studies / f"{image}.nii.gz")
        path = tmp_path / f"{image}.nii.gz"
        nib.Nifti1Image(np.ones(scan.shape, np.uint8), scan.affine).to_filename(path)
        assert server.put_label(image, path).status_code == 200
    for strategy in ("random", "predictive_entropy"):
        sample = next_sample(server, strategy)
        assert "id" not in sample
        assert f"all {len(scores)} images" in sample["reason"]
    assert server.state(server.job(kind="score", model=server.baseline))["result"]["scores"] == {}
    for image in server.images():
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
