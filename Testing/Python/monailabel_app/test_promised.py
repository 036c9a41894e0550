"""What the server promises of a result, and of which images it promises nothing."""

from __future__ import annotations

import json

import pytest

from monailabel_app.app.sampling import was_picked
from uncertaintyseg.active.strategies import STRATEGIES
from uncertaintyseg.inference.bundle import find_bundle

BY_RISK = {"strategy": {"random": {"ts": 1}, "predictive_entropy": {"ts": 2, "score": 0.3}}}
BY_NAME = {"strategy": {"predictive_entropy": {"ts": 2, "score": None}}}


@pytest.fixture
def noted(server, image):
    """Sets the image's record; the strategies that handed it out so far come back afterwards."""
    records = json.loads((server.studies / "datastore_v2.json").read_text())["objects"][image]["image"]["info"]

    def put(info: dict) -> None:
        reply = server.http.put(f"/datastore/image/info?image={image}", data={"info": json.dumps(info)})
        assert reply.status_code == 200, reply.text

    yield put
    put({"strategy": records.get("strategy")})


def test_a_calibrated_model_promises_and_says_what_it_was_calibrated_on(server, image, noted):
    noted({"strategy": {"random": {"ts": 1}}})
    risk = server.infer(server.baseline, image)["result"]["risk"]
    assert risk["guarantee"]["alpha"] == 0.05
    assert risk["guarantee_reason"] is None
    calibration, _ = find_bundle(server.baseline).calibration
    assert risk["guarantee"]["text"].endswith(f"for cases like the {calibration.n} of {calibration.data}.")
    thresholds = [point["threshold"] for point in risk["risk_coverage"]]
    assert risk["guarantee"]["threshold"] in thresholds
    assert thresholds == sorted(thresholds)


def test_nothing_is_promised_of_an_image_that_was_picked_for_its_risk(server, image, noted):
    noted(BY_RISK)
    risk = server.infer(server.baseline, image)["result"]["risk"]
    assert risk["guarantee"] is None
    assert "picked for its risk" in risk["guarantee_reason"]
    assert risk["risk_coverage"]


def test_a_random_choice_is_none_by_risk():
    assert not STRATEGIES["random"].reads
    assert was_picked(BY_RISK)
    for record in (
        BY_NAME,
        {},
        {"strategy": None},
        {"strategy": "x"},
        {"strategy": {"random": {}}},
        {"strategy": {"gone": {}}},
    ):
        assert not was_picked(record)
