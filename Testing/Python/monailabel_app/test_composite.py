"""A model that is put together from several networks, on the server."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture(scope="module")
def result(composite, anatomic) -> dict:
    job = anatomic.infer(composite.name, "case_0")
    assert job["state"] == "done", job
    return job["result"]


def test_the_server_names_its_structures(composite, anatomic):
    model = anatomic.http.get("/info/").json()["models"][composite.name]
    assert model["labels"] == {label.name: label.id for label in composite.labels}


def test_a_scan_gets_its_label_and_a_map_of_any_structure(composite, anatomic, result):
    label = np.asarray(anatomic.volume(result["label"]).dataobj)
    assert label.shape == (12, 12, 10)
    names = {item.id: item.name for item in composite.labels}
    found = names[int(label[label > 0][0])]
    url = f"/uncertainty/v1/results/{result['risk']['result']}/maps/probability_{found}.nii.gz"
    probability = anatomic.volume(url).get_fdata()
    assert probability.shape == label.shape
    assert 0 < probability.max() <= 1


def test_an_edited_label_is_reviewed(composite, anatomic, result, tmp_path):
    image = anatomic.volume(result["label"])
    label = np.asarray(image.dataobj).astype(np.uint8)
    label[:6] = 0
    nib.Nifti1Image(label, image.affine).to_filename(tmp_path / "label.nii.gz")
    url = f"/uncertainty/v1/results/{result['risk']['result']}/review"
    with (tmp_path / "label.nii.gz").open("rb") as file:
        reply = anatomic.http.post(url, files={"label": ("label.nii.gz", file)}, data={"params": json.dumps({})})
    assert reply.status_code == 200, reply.text
    risk = reply.json()["risk"]
    assert risk["regions"]
    assert risk["remaining_error_ml"] > 0
    assert {row["name"] for row in risk["structures"]} <= {item.name for item in composite.labels}


def test_a_region_and_some_structures_are_looked_at_alone(composite, anatomic, result):
    label = np.asarray(anatomic.volume(result["label"]).dataobj)
    names = {item.id: item.name for item in composite.labels}
    found = names[int(label[label > 0][0])]
    roi = [[0, 8], [2, 12], [0, 10]]
    job = anatomic.infer(composite.name, "case_0", structures=[found], roi=roi)
    assert job["state"] == "done", job
    risk = job["result"]["risk"]
    assert [row["name"] for row in risk["structures"]] == [found]
    [line] = [each for each in anatomic.http.get("/uncertainty/v1/audit?last=5").json() if each.get("roi")]
    assert (line["event"], line["case"], line["structures"], line["roi"]) == ("infer", "case_0", [found], roi)
    inside = np.asarray(anatomic.volume(job["result"]["label"]).dataobj)
    assert inside.shape == label.shape
    box = tuple(slice(*span) for span in roi)
    outside = np.ones(label.shape, bool)
    outside[box] = False
    assert not inside[outside].any()
    assert set(np.unique(inside)) <= {0, *names}
    assert risk["omitted"]
    params = {"params": json.dumps({"structures": ["a hat"]})}
    refused = anatomic.http.post(f"/infer/{composite.name}?image=case_0", data=params)
    assert 400 <= refused.status_code < 500
    assert "a hat" in refused.text
