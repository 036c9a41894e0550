"""The work list: status, scores and leases of all cases, and taking one by its name."""

from __future__ import annotations

import json
import time

import pytest

from monailabel_app.app.sampling import was_picked


@pytest.fixture(autouse=True)
def nobody_has_a_case(server) -> None:
    for image in server.images():
        server.http.put(f"/datastore/image/info?image={image}", data={"info": '{"lease": null, "skipped": null}'})


@pytest.fixture(scope="module")
def scores(server) -> dict[str, float]:
    return server.ended(server.job(kind="score", model=server.baseline))["result"]["scores"]


def rows(server, **query) -> dict[str, dict]:
    reply = server.http.get("/uncertainty/v1/cases", params=query)
    assert reply.status_code == 200, reply.text
    return {row["id"]: row for row in reply.json()["cases"]}


def take(server, image: str, who: str, **body):
    return server.http.post(f"/uncertainty/v1/cases/{image}/lease", json={"client_id": who, **body})


def give_back(server, image: str, who: str):
    return server.http.delete(f"/uncertainty/v1/cases/{image}/lease", params={"client_id": who})


def test_every_image_has_a_row_with_its_score_and_rank(server, scores):
    found = rows(server, model=server.baseline)
    assert list(found) == server.images()
    for image, row in found.items():
        assert (row["status"], row["model"], row["lease"], row["skipped"]) == (
            "unlabelled",
            server.baseline,
            None,
            False,
        )
        assert row["score"] == row["scores"]["predictive_entropy"] == scores[image]
        assert "expected_dice_loss" in row["scores"]
    best = max(scores, key=scores.get)
    assert found[best]["reason"].endswith(f"nats, rank 1 of {len(scores)} without a label")


def test_a_model_that_has_scored_nothing_says_so(server, scores):
    model = server.baseline.replace("deterministic", "mixture_of_bases")
    assert {(row["score"], row["reason"]) for row in rows(server, model=model).values()} == {
        (None, f"no score by {model} yet")
    }


def test_an_unknown_model_is_not_found(server):
    assert server.http.get("/uncertainty/v1/cases?model=nothing").status_code == 404


def test_a_labelled_case_is_labelled(server, image, saved_label):
    row = rows(server)[image]
    assert (row["status"], row["labels"], row["reason"]) == ("labelled", ["final"], "has a final label")


def test_a_case_taken_by_name_is_not_given_to_others(server, scores, image):
    lease = take(server, image, "ann", minutes=10)
    assert lease.status_code == 200, lease.text
    assert lease.json()["until"] == pytest.approx(time.time() + 600, abs=30)
    mine, others = (rows(server, client_id=who)[image] for who in ("ann", "bob"))
    assert mine["status"] == others["status"] == "leased"
    assert mine["lease"] == lease.json() | {"mine": True}
    assert others["lease"]["mine"] is False
    assert others["reason"].startswith("ann has it until ")
    refused = take(server, image, "bob")
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith(f"ann has '{image}' until ")
    served = server.http.post("/activelearning/random", json={"client_id": "bob", "count": 100}).json()["samples"]
    assert image not in [sample["id"] for sample in served]


def test_taking_again_lasts_longer_and_the_next_case_frees_the_last(server, image):
    other = next(name for name in server.images() if name != image)
    first = take(server, image, "ann", minutes=1).json()
    assert take(server, image, "ann", minutes=60).json()["until"] > first["until"] + 3000
    assert take(server, other, "ann").status_code == 200
    assert rows(server)[image]["lease"] is None
    assert take(server, image, "bob").status_code == 200


def test_only_who_has_a_case_gives_it_back(server, image):
    take(server, image, "ann")
    assert give_back(server, image, "bob").status_code == 409
    assert rows(server)[image]["status"] == "leased"
    assert give_back(server, image, "ann").status_code == 204
    assert give_back(server, image, "ann").status_code == 204
    assert rows(server)[image]["status"] == "unlabelled"


def test_a_lease_that_has_run_out_is_none(server, image):
    take(server, image, "ann", minutes=0.001)
    server.wait_until(lambda: rows(server)[image]["lease"] is None, 5)
    assert take(server, image, "bob").status_code == 200


def test_a_case_taken_by_name_was_not_picked_for_its_risk(server, scores, image):
    server.http.put(f"/datastore/image/info?image={image}", data={"info": '{"strategy": null}'})
    take(server, image, "ann")
    info = server.http.get(f"/datastore/image/info?image={image}").json()
    assert not was_picked(info)


def test_who_skipped_a_case_sees_it(server, image):
    server.http.post("/activelearning/random", json={"client_id": "ann", "skip": image, "lease_minutes": 0})
    assert rows(server, client_id="ann")[image]["skipped"] is True
    assert rows(server, client_id="bob")[image]["skipped"] is False


def test_taking_and_giving_back_are_in_the_audit_log(server, image):
    take(server, image, "ann")
    give_back(server, image, "ann")
    lines = server.http.get("/uncertainty/v1/audit?last=2").json()
    assert [(line["event"], line["case"]) for line in lines] == [("give_back", image), ("take", image)]


def test_there_is_no_lease_of_no_case(server):
    assert take(server, "nobody", "ann").status_code == 404
    assert give_back(server, "nobody", "ann").status_code == 404
    assert take(server, server.images()[0], "ann", minutes=0).status_code == 422


def test_records_that_make_no_sense_make_no_row_fail(server, image):
    before = server.http.get(f"/datastore/image/info?image={image}").json()
    nonsense = {"scores": {server.baseline: 7}, "lease": [1], "skipped": "x", "strategy": 3}
    server.http.put(f"/datastore/image/info?image={image}", data={"info": json.dumps(nonsense)})
    row = rows(server)[image]
    assert (row["lease"], row["skipped"]) == (None, False)
    put_back = {name: before.get(name) for name in nonsense}
    server.http.put(f"/datastore/image/info?image={image}", data={"info": json.dumps(put_back)})


@pytest.mark.parametrize("nonsense", [{"random": {"ts": "now"}}, ["x"]])
def test_a_label_is_saved_whatever_a_client_wrote_into_the_record(server, image, request, nonsense):
    info = json.dumps({"strategy": nonsense})
    server.http.put(f"/datastore/image/info?image={image}", data={"info": info})
    request.getfixturevalue("saved_label")
    server.http.put(f"/datastore/image/info?image={image}", data={"info": '{"strategy": null}'})
