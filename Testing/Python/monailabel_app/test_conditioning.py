"""Clicks and scribbles over the wire: what moves, what is refused, and undo."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from uncertaintyseg.inference.corrected import NO_PROMISE


@pytest.fixture(scope="module")
def base(server, image) -> dict:
    """A result of the model that draws coherent samples."""
    job = server.infer(server.model, image)
    assert job["state"] == "done", job
    return job["result"]


def read(server, url: str) -> np.ndarray:
    reply = server.http.get(url)
    assert reply.status_code == 200, reply.text
    return np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(reply.content)).dataobj)


@pytest.fixture(scope="module")
def label(server, base) -> np.ndarray:
    return read(server, base["label"])


@pytest.fixture(scope="module")
def voxel(server, base, label) -> list[int]:
    """The most doubtful voxel that has a structure."""
    error = read(server, base["risk"]["maps"]["error_probability"]["url"])
    return [int(i) for i in np.unravel_index((error * (label > 0)).argmax(), label.shape)]


def condition(server, result: dict, **body):
    return server.http.post(f"/uncertainty/v1/results/{result['risk']['result']}/condition", json=body)


def corrected(server, result: dict, **body) -> dict:
    reply = condition(server, result, **body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_one_click_moves_the_segmentation_and_its_maps(server, base, label, voxel):
    after = corrected(server, base, background=[voxel])
    assert (after["moved"], after["alone"], after["offer"]) == ("shape", 0, None)
    assert after["risk"]["result"] != base["risk"]["result"]
    moved = read(server, after["label"])
    assert moved[tuple(voxel)] == 0
    assert (moved != label).sum() > 1
    entropy = read(server, after["risk"]["maps"]["predictive_entropy"]["url"])
    assert entropy.shape == label.shape
    assert after["risk"]["guarantee"] is None
    assert after["risk"]["guarantee_reason"] == NO_PROMISE
    assert after["risk"]["provenance"]["params"]["base"] == base["risk"]["result"]


def test_leaving_a_click_out_is_undo(server, base, voxel):
    name = base["labels"][0]["name"]
    other = [max(voxel[0] - 1, 0), *voxel[1:]]
    before = corrected(server, base, background=[voxel])
    with_more = corrected(server, before, background=[voxel], **{name: [other]})
    again = corrected(server, with_more, background=[voxel])
    assert again["risk"]["result"] == before["risk"]["result"]
    assert corrected(server, again)["risk"]["result"] == base["risk"]["result"]
    assert corrected(server, again)["moved"] == "none"


def test_a_structure_may_be_named_in_each_way_and_scribbled(server, base, voxel):
    name = base["labels"][0]["name"]
    one = corrected(server, base, foreground=[voxel], label=name)
    assert corrected(server, base, **{name: [voxel]})["risk"]["result"] == one["risk"]["result"]
    stroke = corrected(server, base, scribbles={name: [voxel, voxel]})
    assert read(server, stroke["label"])[tuple(voxel)] == base["labels"][0]["id"]
    assert corrected(server, base, background=[voxel], reach_mm=2)["risk"]["provenance"]["params"]["reach_mm"] == 2


def test_without_shared_noise_a_click_moves_its_voxel_and_a_head_that_shares_it_is_offered(server, cached, voxel):
    plain = server.infer(server.baseline, cached)["result"]
    label = read(server, plain["label"])
    said = int(label[tuple(voxel)] == 0)
    body = {"background": [voxel]} if not said else {plain["labels"][0]["name"]: [voxel]}
    after = corrected(server, plain, **body)
    assert after["moved"] == "voxel"
    assert f"uncertaintyseg train {server.baseline} DATA --head laplace" in after["offer"]
    assert np.argwhere(read(server, after["label"]) != label).tolist() == [voxel]


def test_points_and_scribbles_of_a_stock_inference_correct_it(server, base, cached, voxel):
    name = base["labels"][0]["name"]
    for params in ({name: [voxel]}, {"scribbles": {name: [voxel]}}):
        url = f"/infer/{server.model}?image={cached}&output=json"
        answer = server.http.post(url, data={"params": json.dumps(params)}).json()
        assert answer["risk"]["result"] == corrected(server, base, **params)["risk"]["result"]


@pytest.mark.parametrize(("body", "status", "words"), [
    ({"background": [[9999, 0, 0]]}, 400, ["background[0]", "outside the scan"]),
    ({"background": [[0, 0, 0], [0, -1, 0]]}, 400, ["background[1]"]),
    ({"background": [[10**30, 0, 0]]}, 422, ["background.0.0"]),
    ({"scribbles": {"background": [[0, 0, 9999]]}}, 400, ["scribbles.background[0]"]),
    ({"foreground": [[0, 0, 0]]}, 400, ["label", "which structure"]),
    ({"foreground": [[0, 0, 0]], "label": "spleen"}, 400, ["label", "spleen"]),
    ({"spleen": [[0, 0, 0]]}, 400, ["spleen"]),
    ({"background": [[i % 9, i // 9 % 9, 0] for i in range(1001)]}, 400, ["too many clicks", "1001"]),
    ({"background": [[0, 0]]}, 422, ["background"]),
    ({"background": [[0.5, 0, 0]]}, 422, ["background"]),
    ({"background": "all"}, 422, ["background"]),
    ({"reach_mm": 0}, 422, ["reach_mm"]),
    ({"boxes": [{"structure": "spleen", "first": [0, 0, 0], "last": [1, 1, 1]}]}, 400, ["boxes[0]", "spleen"]),
    ({"boxes": [{"structure": "background", "first": [0, 0, 0], "last": [1, 1, 1]}]}, 400, ["boxes[0]"]),
    ({"boxes": [{"structure": "x", "first": [0, 0, 0]}]}, 422, ["boxes.0.last"]),
    ({"boxes": [{"structure": "x", "first": [0, 0, 0], "last": [0, 0, 0]}] * 101}, 422, ["boxes"]),
    ({"lassos": [{"structure": "background", "corners": [[0, 0, 0], [9, 0, 0]]}]}, 422, ["lassos.0.corners"]),
    ({"lassos": [{"structure": "background", "corners": [[0, 0, 0], [9, 0, 0], [9, 9999, 0]]}]}, 400, ["lassos[0]"]),
    ({"lassos": [{"structure": "background", "corners": [[0, 0, 0], [9, 0, 0], [9, 9, 9], [0, 9, 0]]}]}, 400,
     ["lassos[0]", "one plane"]),
    ({"lassos": [{"structure": "background", "corners": [["NaN", 0, 0], [9, 0, 0], [9, 9, 0]]}]}, 422, ["lassos.0"]),
])  # fmt: skip
def test_what_cannot_be_a_click_is_refused(server, base, body, status, words):
    reply = condition(server, base, **body)
    assert reply.status_code == status, reply.text
    assert all(word in str(reply.json()["detail"]) for word in words), reply.text


@pytest.mark.parametrize("scribbled", ["neither", "one", "both"])
def test_a_voxel_that_is_said_to_be_two_things_is_refused_with_its_place_and_both_names(server, base, voxel, scribbled):
    name = base["labels"][0]["name"]
    one, other = {"background": [voxel]}, {name: [[0, 0, 0], voxel]}
    body = {"neither": one | other, "one": one | {"scribbles": other}, "both": {"scribbles": one | other}}[scribbled]
    reply = condition(server, base, **body)
    assert reply.status_code == 400, reply.text
    detail = str(reply.json()["detail"])
    assert all(word in detail for word in (f"{name}[1]", "background[0]", str(voxel), f"said to be {name}")), detail


def test_a_lasso_and_a_box_correct_as_clicks_do_and_are_taken_back_by_leaving_them_out(server, base, label, voxel):
    i, j, k = voxel
    lasso = {"structure": "background", "corners": [[i - 1, j - 1, k], [i + 1, j - 1, k], [i + 1, j + 1, k]]}
    after = corrected(server, base, lassos=[lasso])
    moved = read(server, after["label"])
    assert after["moved"] == "shape"
    assert moved[i, j, k] == moved[i, j - 1, k] == 0
    name, class_id = next((item["name"], item["id"]) for item in base["labels"] if (label == item["id"]).any())
    places = np.argwhere(label == class_id)
    last = places.max(axis=0)
    last[0] = int(np.median(places[:, 0]))
    box = {"structure": name, "first": places.min(axis=0).tolist(), "last": last.tolist()}
    cut = corrected(server, base, boxes=[box])
    held = np.zeros(label.shape, bool)
    held[tuple(slice(a, b + 1) for a, b in zip(box["first"], last, strict=True))] = True
    shown = read(server, cut["label"])
    pieces, _ = ndimage.label(shown == class_id)
    assert not (np.isin(pieces, np.unique(pieces[held & (pieces > 0)])) & ~held).any()
    assert (shown == class_id).sum() < (label == class_id).sum()
    both = corrected(server, base, boxes=[box], lassos=[lasso])
    assert len({result["risk"]["result"] for result in (base, after, cut, both)}) == 4
    assert corrected(server, base)["risk"]["result"] == base["risk"]["result"]


@pytest.mark.parametrize("key", ["0" * 64, "not-a-key"])
def test_clicks_on_no_result_are_not_found(server, key):
    reply = server.http.post(f"/uncertainty/v1/results/{key}/condition", json={"background": [[0, 0, 0]]})
    assert reply.status_code == 404


def test_the_audit_log_names_the_case_of_a_correction(server, base, image, voxel):
    corrected(server, base, background=[voxel], reach_mm=3)
    line = server.http.get("/uncertainty/v1/audit?last=1").json()[0]
    assert (line["event"], line["case"]) == ("condition", image)


def test_a_corrected_result_has_a_curve_without_what_stays_wrong(server, base, voxel):
    risk = corrected(server, base, background=[voxel])["risk"]
    assert risk["risk_coverage"][0]["regions"] > 0
    assert {point["expected_error"] for point in risk["risk_coverage"]} == {None}
    assert 0 < risk["remaining_error_ml"] != base["risk"]["remaining_error_ml"]
