"""Which image comes next, and why."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monailabel.client.client import MONAILabelClient

from uncertaintyseg.active.strategies import STRATEGIES


def next_sample(server, strategy: str, **params) -> dict:
    """Without a lease, unless a test is about them: the server and its four images are shared."""
    answer = server.http.post(f"/activelearning/{strategy}", json={"lease_minutes": 0} | params)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(autouse=True)
def nobody_has_an_image(server) -> None:
    for image in server.images():
        server.http.put(f"/datastore/image/info?image={image}", data={"info": '{"lease": null, "skipped": null}'})


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
    records = server.http.get("/datastore/?output=all").json()
    kept = records["objects"][image]["image"]["info"]["scores"][server.baseline]
    assert kept["predictive_entropy"] == scores[image]
    assert {"mutual_information", "variance", "expected_dice_loss", "foreground_ml"} < kept.keys()
    assert kept["checksum"] == server.http.get("/info/").json()["models"][server.baseline]["checksum"]


def test_a_second_score_job_has_nothing_to_do(server, scores):
    state = server.state(server.job(kind="score", model=server.baseline))
    assert (state["state"], state["result"]["scores"]) == ("done", scores)


def test_predictive_entropy_serves_the_highest_score_and_says_why(server, scores):
    sample = next_sample(server, "predictive_entropy", model=server.baseline)
    assert sample["id"] == max(scores, key=scores.get)
    assert sample["score"] == max(scores.values())
    assert sample["strategy"] == "predictive_entropy"
    assert sample["remaining"] == {"unlabelled": len(scores), "scored": len(scores), "skipped": 0, "locked": 0}
    assert sample["reason"].startswith(f"{server.baseline}: mean predictive entropy within 3 mm of the foreground: ")
    assert sample["reason"].endswith(f"{sample['score']:.4g} nats, rank 1 of {len(scores)}")


def test_an_answer_says_where_it_comes_from(server, scores):
    sample = next_sample(server, "predictive_entropy", model=server.baseline)["samples"][0]
    checksum = server.http.get("/info/").json()["models"][server.baseline]["checksum"]
    provenance = sample["provenance"]
    assert datetime.fromisoformat(provenance.pop("date")) >= datetime.fromisoformat(provenance.pop("scored"))
    assert provenance == {
        "strategy": "predictive_entropy", "model": server.baseline, "head": "deterministic", "checksum": checksum,
        "measure": "predictive_entropy", "unit": "nats", "score": sample["score"], "rank": 1, "of": len(scores),
    }  # fmt: skip


@pytest.mark.parametrize("strategy", [name for name, strategy in STRATEGIES.items() if strategy.map is None])
def test_every_strategy_serves_as_many_different_images_as_asked_for_up_to_all(server, scores, strategy):
    for count in (2, 100):
        answer = next_sample(server, strategy, model=server.baseline, count=count, seed=3)
        served = [sample["id"] for sample in answer["samples"]]
        assert len(set(served)) == len(served) == min(count, len(scores))
        assert answer["id"] == served[0]
        assert all(sample["reason"] and sample["provenance"]["strategy"] == strategy for sample in answer["samples"])
        again = next_sample(server, strategy, model=server.baseline, k=count, seed=3)
        assert [sample["id"] for sample in again["samples"]] == served


def test_a_strategy_that_reads_a_map_asks_for_a_model_that_makes_it(server):
    asked = server.http.post("/activelearning/risk_ranking", json={"model": server.baseline, "lease_minutes": 0})
    assert (asked.status_code, "reads the map 'ranking'" in asked.text) == (400, True)
    answer = next_sample(server, "risk_ranking", peek=True)
    assert server.http.get("/info/").json()["models"][answer["model"]]["head"] == "segwithu"


def test_the_server_offers_all_strategies_and_says_which_scores_they_read(server):
    offered = server.http.get("/info/").json()["strategies"]
    assert {name: entry["reads"] for name, entry in offered.items()} == {
        name: list(strategy.reads) for name, strategy in STRATEGIES.items()
    }


def test_two_annotators_are_served_different_images_until_one_saves_or_goes_on(server, scores, tmp_path):
    asked = {"model": server.baseline, "lease_minutes": 30}
    first = next_sample(server, "predictive_entropy", client_id="ann", **asked)
    second = next_sample(server, "predictive_entropy", client_id="bob", **asked)
    order = sorted(scores, key=scores.get, reverse=True)
    assert [first["id"], second["id"]] == order[:2]
    assert second["remaining"]["locked"] == 1
    assert next_sample(server, "predictive_entropy", client_id="ann", **asked)["id"] == order[0]
    records = server.http.get("/datastore/?output=all").json()["objects"]
    assert records[order[0]]["image"]["info"]["lease"]["annotator"] == "ann"  # so a restart does not forget it
    save(server, order[0], tmp_path)
    assert server.http.get(f"/datastore/image/info?image={order[0]}").json()["lease"] is None
    server.remove_label(order[0])
    assert next_sample(server, "predictive_entropy", client_id="bob", **asked)["id"] == order[0]


def test_annotators_who_ask_at_the_same_moment_get_different_images(server, scores):
    def ask(who: int) -> str:
        return next_sample(server, "predictive_entropy", model=server.baseline, client_id=f"a{who}", lease_minutes=1)[
            "id"
        ]

    with ThreadPoolExecutor(len(scores)) as pool:
        assert sorted(pool.map(ask, range(len(scores)))) == sorted(scores)


def test_a_lease_runs_out(server, scores):
    asked = {"model": server.baseline, "lease_minutes": 0.02}
    held = next_sample(server, "predictive_entropy", client_id="ann", **asked)["id"]
    assert next_sample(server, "predictive_entropy", client_id="bob", **asked)["id"] != held
    server.wait_until(lambda: next_sample(server, "predictive_entropy", client_id="bob", **asked)["id"] == held, 10)


def test_when_others_have_everything_the_answer_says_until_when(server, scores):
    next_sample(server, "random", client_id="ann", count=100, lease_minutes=30)
    answer = next_sample(server, "random", client_id="bob")
    assert "id" not in answer
    assert answer["samples"] == []
    assert answer["reason"].startswith(f"other annotators have the {len(scores)} images that are left, the first until")


def test_a_skipped_image_comes_last_for_who_skipped_it_and_first_for_the_others(server, scores):
    asked = {"model": server.baseline, "lease_minutes": 0}
    order = sorted(scores, key=scores.get, reverse=True)
    answer = next_sample(server, "predictive_entropy", client_id="cy", skip=order[0], **asked)
    assert answer["id"] == order[1]
    assert answer["remaining"]["skipped"] == 1
    assert next_sample(server, "predictive_entropy", client_id="dee", **asked)["id"] == order[0]
    rest = next_sample(server, "predictive_entropy", client_id="cy", skip=order[1:], **asked)
    assert rest["id"] == order[0]  # all are skipped now


def test_an_excluded_image_is_not_served_this_time(server, scores):
    asked = {"model": server.baseline, "client_id": "eve", "lease_minutes": 1}
    order = sorted(scores, key=scores.get, reverse=True)
    assert next_sample(server, "predictive_entropy", exclude=order[0], **asked)["id"] == order[1]
    assert next_sample(server, "predictive_entropy", **asked)["id"] == order[0]
    nothing = next_sample(server, "predictive_entropy", exclude=order, **asked)
    assert ("id" not in nothing, nothing["reason"]) == (True, "every other image has a final label")
    assert nothing["remaining"]["unlabelled"] == len(order)


@pytest.mark.parametrize(
    ("params", "status", "message"),
    [
        ({"count": 0}, 400, "params.count"),
        ({"count": "many"}, 400, "params.count"),
        ({"skip": "nobody"}, 404, "no image 'nobody'"),
        ({"skip": {"a": 1}}, 400, "params.skip"),
        ({"lease_minutes": -1}, 400, "params.lease_minutes"),
        ({"seed": -1}, 400, "params.seed"),
        ({"model": "nothing"}, 404, "no model 'nothing'"),
    ],
)
def test_a_wrong_field_is_named(server, params, status, message):
    answer = server.http.post("/activelearning/predictive_entropy", json=params)
    assert (answer.status_code, message in answer.text) == (status, True), answer.text


def test_records_that_a_client_wrote_nonsense_into_count_as_none(server, scores, image):
    info = server.http.get(f"/datastore/image/info?image={image}").json()
    nonsense = {"scores": {server.baseline: ["x"]}, "lease": "mine", "skipped": 7, "strategy": []}
    server.http.put(f"/datastore/image/info?image={image}", data={"info": json.dumps(nonsense)})
    answer = next_sample(server, "predictive_entropy", model=server.baseline)
    assert answer["remaining"]["scored"] == len(scores) - 1
    put_back = {key: info.get(key) for key in nonsense}
    server.http.put(f"/datastore/image/info?image={image}", data={"info": json.dumps(put_back)})


def test_a_new_image_is_scored_by_the_model_that_scored_the_others(server, scores, scans):
    with scans[0].open("rb") as file:
        server.http.put("/datastore/image?image=late", files={"file": (scans[0].name, file)})
    try:
        server.wait_until(lambda: server.baseline in (info(server, "late").get("scores") or {}), 60)
    finally:
        server.http.delete("/datastore/image?id=late")
        server.wait_until(lambda: "late" not in server.images())


def info(server, image: str) -> dict:
    return server.http.get(f"/datastore/image/info?image={image}").json()


def save(server, image: str, folder: Path) -> None:
    scan, path = nib.load(server.studies / f"{image}.nii.gz"), folder / "label.nii.gz"
    nib.Nifti1Image(np.ones(scan.shape, np.uint8), scan.affine).to_filename(path)
    assert server.put_label(image, path).status_code == 200


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
        save(server, served[-1], tmp_path)
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
