"""What the server promises of a result, and of which images it promises nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from monailabel_app.app.sampling import was_picked
from uncertaintyseg.active.strategies import STRATEGIES
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.review.promise import cases_needed
from uncertaintyseg.review.promise import guarantee as promise

BY_RISK = {"strategy": {"random": {"ts": 1}, "predictive_entropy": {"ts": 2, "score": 0.3}}}
BY_NAME = {"strategy": {"predictive_entropy": {"ts": 2, "score": None}}}


@pytest.fixture
def noted(server, image):
    """Sets the image's record; the strategies that handed it out so far come back afterwards."""
    records = server.http.get("/datastore/?output=all").json()["objects"][image]["image"]["info"]

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


@pytest.fixture
def result(server, image, noted) -> dict:
    """A result of an image that nobody picked for its risk."""
    noted({})
    return server.infer(server.baseline, image, seed=5)["result"]


def ask(server, result: dict, **bound):
    return server.http.get(f"/uncertainty/v1/results/{result['risk']['result']}/guarantee", params=bound)


@pytest.mark.parametrize("bound", [{}, {"alpha": 0.1}, {"alpha": 0.1, "delta": 0.1}, {"alpha": 0.2, "delta": 0.05}])
def test_another_bound_is_promised_as_the_calibration_cases_say(server, result, bound):
    calibration, _ = find_bundle(server.baseline).calibration
    reply = ask(server, result, **bound)
    assert reply.status_code == 200, reply.text
    expected = promise(calibration, bound.get("alpha", 0.05), bound.get("delta"))
    assert reply.json() == {"guarantee": expected.model_dump(), "guarantee_reason": None}
    assert expected.kind == ("rcps" if "delta" in bound else "crc")
    if not bound:
        assert reply.json()["guarantee"] == result["risk"]["guarantee"]


@pytest.mark.parametrize("bound", [{"alpha": 0.001}, {"alpha": 0.01, "delta": 0.01}, {"alpha": 1e-300}])
def test_a_bound_out_of_reach_is_refused_with_the_number_of_cases_that_it_needs(server, result, bound):
    reply = ask(server, result, **bound)
    assert reply.status_code == 400
    n = find_bundle(server.baseline).calibration[0].n
    needed = f"cannot be promised with {n} calibration cases: it would take {cases_needed(**bound):.7g} or more"
    assert needed in reply.json()["detail"]


@pytest.mark.parametrize("bound", [{name: v} for name in ("alpha", "delta") for v in (0, 1, -1, 2, "nan", "inf", "x")])
def test_a_bound_that_is_no_share_is_refused_by_name(server, result, bound):
    reply = ask(server, result, **bound)
    assert reply.status_code == 422
    assert next(iter(bound)) in reply.json()["detail"]


def test_no_bound_is_promised_of_what_nothing_is_promised_of(server, image, result, noted):
    label = server.http.get(result["label"]).content
    files = {"label": ("label.nii.gz", label, "application/gzip")}
    reviewed = server.http.post(f"/uncertainty/v1/results/{result['risk']['result']}/review", files=files).json()
    passes = server.infer(server.baseline, image, method="tta")["result"]
    for other in (reviewed, passes):
        answer = ask(server, other, alpha=0.2)
        assert (answer.status_code, answer.json()["guarantee"]) == (200, None)
        assert answer.json()["guarantee_reason"] == other["risk"]["guarantee_reason"]
    noted(BY_RISK)
    assert "picked for its risk" in ask(server, result, alpha=0.2).json()["guarantee_reason"]
    server.infer(server.baseline, image, seed=5)
    noted({})  # the result itself remembers
    assert ask(server, result, alpha=0.2).json()["guarantee"] is None


def test_a_result_that_is_gone_has_no_promise(server):
    assert server.http.get(f"/uncertainty/v1/results/{'0' * 64}/guarantee").status_code == 404


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


DRIVEN = "hippocampus_segwithu"


@pytest.fixture(scope="module")
def driven(server, image) -> dict:
    """A result of the model whose ranking drives."""
    return server.infer(DRIVEN, image)["result"]


def test_the_wire_says_which_map_drives(server, driven):
    risk = driven["risk"]
    assert risk["driven_by"] == "ranking"
    assert "the map 'ranking'" in risk["maps"]["error_probability"]["description"]
    models = {model["name"]: model["driven_by"] for model in server.http.get("/uncertainty/v1/models").json()}
    assert (models[DRIVEN], models[server.baseline]) == ("ranking", "error_probability")
    answer = ask(server, driven, alpha=0.1).json()
    assert "(read from the map 'ranking')" in answer["guarantee"]["text"]
    error, ranking = (
        np.asarray(server.volume(risk["maps"][name]["url"]).dataobj) for name in ("error_probability", "ranking")
    )
    calibration, (step, half) = find_bundle(DRIVEN).calibration[0], (1 / 65535, 8 / 65535 / 2)
    assert (error >= calibration.recalibrated(ranking - half) - 1e-6).all()
    assert (error <= calibration.recalibrated(ranking + half) + step + 1e-6).all()


@pytest.mark.parametrize(("trusted", "driver"), [("edits", "ranking"), ("none", "error_probability")])
def test_an_edited_label_is_driven_on_and_somebody_elses_is_not(server, driven, trusted, driver):
    files = {"label": ("label.nii.gz", server.http.get(driven["label"]).content, "application/gzip")}
    url = f"/uncertainty/v1/results/{driven['risk']['result']}/review"
    reviewed = server.http.post(url, files=files, data={"params": json.dumps({"trusted": trusted})}).json()
    assert reviewed["risk"]["driven_by"] == driver


@pytest.mark.parametrize(("params", "refusal"), [({"by": 3}, "params.by"), ({"map": "ranking"}, "params.map")])
def test_a_calibration_that_is_asked_for_strangely_is_refused(server, params, refusal):
    request = {"kind": "calibrate", "model": DRIVEN, "params": params}
    reply = server.http.post("/uncertainty/v1/jobs", json=request)
    assert reply.status_code == 400
    assert refusal in reply.json()["detail"]
