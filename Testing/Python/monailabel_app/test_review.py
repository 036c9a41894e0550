"""The risk of a label that a person has edited, or that somebody else made, over the wire."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

ROUNDED = 1e-4
"""Of an expected error, at most: a review sums the stored map, which is rounded up to 16 bits."""
DECIMALS = 2e-4
"""What two figures that are told with four decimals may differ by."""


@pytest.fixture(scope="module")
def base(server, image) -> dict:
    job = server.infer(server.model, image)
    assert job["state"] == "done", job
    return job["result"]


def read(server, url: str) -> np.ndarray:
    return np.asarray(server.volume(url).dataobj)


def ask(server, base: dict, label: np.ndarray, folder: Path, *, affine=None, name="label.nii.gz", **params):
    path = folder / "label.nii.gz"
    affine = server.volume(base["label"]).affine if affine is None else affine
    nib.Nifti1Image(label.astype(np.uint8), affine).to_filename(path)
    url = f"/uncertainty/v1/results/{base['risk']['result']}/review"
    with path.open("rb") as file:
        return server.http.post(url, files={"label": (name, file)}, data={"params": json.dumps(params)})


def review(server, base: dict, label: np.ndarray, folder: Path, **params) -> dict:
    reply = ask(server, base, label, folder, **params)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.fixture(scope="module")
def label(server, base) -> np.ndarray:
    return read(server, base["label"])


@pytest.fixture
def cut(label) -> np.ndarray:
    """The label without its lower half."""
    found = label.copy()
    found[..., : int(np.argwhere(label)[:, 2].mean())] = 0
    return found


def same_regions(found: list[dict], wanted: list[dict]) -> bool:
    """Whether they are the same places, and expect the same but for what `ROUNDED` says."""
    places = [[region | {"expected_error_ml": 0} for region in regions] for regions in (found, wanted)]
    expected = [[region["expected_error_ml"] for region in regions] for regions in (found, wanted)]
    return places[0] == places[1] and expected[0] == pytest.approx(expected[1], rel=ROUNDED, abs=DECIMALS)


def test_the_models_own_label_has_the_risk_that_the_result_had(server, base, label, tmp_path):
    same = review(server, base, label, tmp_path)
    left = base["risk"]["remaining_error_ml"]
    assert left > 0
    assert same["risk"]["remaining_error_ml"] == pytest.approx(left, rel=ROUNDED, abs=DECIMALS)
    assert same_regions(same["risk"]["regions"], base["risk"]["regions"])
    for score in ("anomaly_score", "anomaly_symmetric"):
        assert [row[score] for row in same["risk"]["structures"]] == [0] * len(base["labels"])
    assert not read(server, same["risk"]["maps"]["anomaly"]["url"]).any()
    error = [read(server, result["risk"]["maps"]["error_probability"]["url"]) for result in (same, base)]
    assert np.array_equal(*error)


def test_edits_are_right_and_another_persons_label_is_not(server, base, label, cut, tmp_path):
    edited, given = (review(server, base, cut, tmp_path, trusted=trusted) for trusted in ("edits", "none"))
    before = base["risk"]["remaining_error_ml"]
    assert edited["risk"]["remaining_error_ml"] < before < given["risk"]["remaining_error_ml"]
    error = read(server, edited["risk"]["maps"]["error_probability"]["url"])
    assert not error[cut != label].any()
    doubted = server.volume(given["risk"]["maps"]["error_probability"]["url"]).get_fdata()
    assert doubted[cut != label].mean() > 0.5
    worst = given["risk"]["regions"][0]
    assert worst["kind"] == "missed"
    assert cut[tuple(worst["ijk"])] != label[tuple(worst["ijk"])]
    for result in (edited, given):
        assert np.array_equal(read(server, result["label"]), cut)
        assert result["risk"]["guarantee"] is None
        assert result["risk"]["guarantee_reason"]
        heat = server.volume(result["risk"]["maps"]["anomaly"]["url"]).get_fdata()
        assert heat[cut != label].mean() > 0.3
        assert not heat[cut == label].any()
        assert all(row["anomaly_score"] > 0 for row in result["risk"]["structures"])
        assert "p[own]" in result["risk"]["maps"]["anomaly"]["description"]
    assert all(row["excess_error_ml"] > 0 for row in given["risk"]["structures"])


def test_a_region_that_was_accepted_is_no_region_any_more(server, base, label, tmp_path):
    worst = base["risk"]["regions"][0]
    after = review(server, base, label, tmp_path, accepted=[worst["bounding_box"]])
    assert worst["ijk"] not in [region["ijk"] for region in after["risk"]["regions"]]
    gone = base["risk"]["remaining_error_ml"] - after["risk"]["remaining_error_ml"]
    assert gone >= worst["expected_error_ml"] - 1e-3


def test_the_curve_tells_how_much_there_is_to_review_but_not_what_stays_wrong(server, base, label, tmp_path):
    curve = review(server, base, label, tmp_path)["risk"]["risk_coverage"]
    assert [point["threshold"] for point in curve] == sorted(point["threshold"] for point in curve)
    assert curve[0]["regions"] > 0
    assert curve[-1]["coverage"] == 1
    assert {point[name] for point in curve for name in ("expected_error", "lo", "hi")} == {None}


def test_other_maps_are_those_of_the_result(server, base, label, tmp_path):
    maps = review(server, base, label, tmp_path)["risk"]["maps"]
    assert maps.keys() == base["risk"]["maps"].keys() | {"anomaly"}
    assert {name for name in base["risk"]["maps"] if maps[name] != base["risk"]["maps"][name]} == {"error_probability"}


def test_the_same_question_has_the_same_answer_and_a_review_is_of_the_models_result(server, base, label, cut, tmp_path):
    first = review(server, base, cut, tmp_path)
    assert review(server, base, cut, tmp_path) == first
    assert review(server, first, label, tmp_path) == review(server, base, label, tmp_path)


def test_clicks_go_on_from_the_models_result_and_a_review_from_the_clicked_one(server, base, cut, label, tmp_path):
    first, voxel = review(server, base, cut, tmp_path), np.argwhere(label)[0].tolist()
    url = "/uncertainty/v1/results/{}/condition"
    clicked = [
        server.http.post(url.format(r["risk"]["result"]), json={"background": [voxel]}).json() for r in (first, base)
    ]
    assert clicked[0]["risk"]["result"] == clicked[1]["risk"]["result"]
    after = review(server, clicked[0], read(server, clicked[0]["label"]), tmp_path)
    assert after["risk"]["provenance"]["params"]["base"] == base["risk"]["result"]
    assert same_regions(after["risk"]["regions"], clicked[0]["risk"]["regions"])
    again = server.http.post(url.format(after["risk"]["result"]), json={}).json()
    assert again["risk"]["result"] == base["risk"]["result"]


def test_who_reviewed_what_is_in_the_audit_log(server, base, cut, image, tmp_path):
    found = review(server, base, cut, tmp_path, trusted="none")
    line = server.http.get("/uncertainty/v1/audit?last=1").json()[0]
    assert (line["event"], line["case"], line["trusted"]) == ("review", image, "none")
    assert (line["result"], line["of"]) == (found["risk"]["result"], base["risk"]["result"])


def test_a_save_is_compared_with_the_models_label_not_with_the_review(server, base, cut, image, label, tmp_path):
    found = review(server, base, cut, tmp_path)
    assert server.put_label(image, tmp_path / "label.nii.gz", result=found["risk"]["result"]).status_code == 200
    line = server.http.get("/uncertainty/v1/audit?last=1").json()[0]
    server.remove_label(image)
    assert (line["event"], line["voxels_changed"]) == ("save", int((cut != label).sum()))
    assert line["result"] == base["risk"]["result"]


def test_an_empty_label_is_a_label(server, base, label, tmp_path):
    found = review(server, base, np.zeros_like(label), tmp_path, trusted="none")
    assert {row["flag"] for row in found["risk"]["structures"]} == {"not found"}
    assert {row["anomaly_score"] for row in found["risk"]["structures"]} == {None}


@pytest.mark.parametrize(("change", "params", "words"), [
    (lambda a: a + 77, {}, ["unknown class id"]),
    (lambda a: a[1:], {}, ["grid", "Resample the label"]),
    (lambda a: a, {"trusted": "me"}, ["params.trusted"]),
    (lambda a: a, {"accepted": [[[0, 0, 0], [0, 0, 9999]]]}, ["accepted[0]", "no box"]),
    (lambda a: a, {"accepted": [[[3, 3, 3], [2, 3, 3]]]}, ["accepted[0]", "no box"]),
    (lambda a: a, {"accepted": [[[0, 0], [1, 1]]]}, ["params.accepted"]),
    (lambda a: a, {"accepted": [[[0, 0, 0], [1, 1, 1]]] * 1001}, ["accepted", "1001"]),
    (lambda a: a, {"who": "me"}, ["params.who"]),
])  # fmt: skip
def test_what_cannot_be_reviewed_is_refused(server, base, label, tmp_path, change, params, words):
    reply = ask(server, base, change(label), tmp_path, **params)
    assert reply.status_code == 400, reply.text
    assert all(word in reply.json()["detail"] for word in words), reply.text


def test_a_label_elsewhere_in_space_is_refused_and_a_turned_one_is_turned_back(server, base, label, tmp_path):
    affine = server.volume(base["label"]).affine
    moved = affine.copy()
    moved[:3, 3] += 5
    assert ask(server, base, label, tmp_path, affine=moved).status_code == 400
    flipped = affine.copy()
    flipped[:, 0] *= -1
    flipped[:, 3] += affine[:, 0] * (label.shape[0] - 1)
    assert review(server, base, label[::-1], tmp_path, affine=flipped) == review(server, base, label, tmp_path)


def test_a_result_that_is_gone_is_not_found(server, base, label, tmp_path):
    gone = {**base, "risk": {"result": "0" * 64}}
    assert ask(server, gone, label, tmp_path).status_code == 404
    assert ask(server, base, label, tmp_path, name="label.txt").status_code == 400
