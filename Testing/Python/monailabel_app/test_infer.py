"""Inference as stock clients and ours ask for it."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from monailabel.client.client import MONAILabelClient, MONAILabelClientException

from uncertaintyseg import wire
from uncertaintyseg.review.shape_features import shape_features


@pytest.fixture
def client(server, tmp_path) -> MONAILabelClient:
    return MONAILabelClient(server.url, tmpdir=str(tmp_path))


@pytest.fixture
def result(server, image) -> wire.InferResult:
    job = server.ended(server.job(kind="infer", model=server.model, image=image))
    assert job["state"] == "done", job
    return wire.InferResult.model_validate(job["result"])


def nifti(data: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(data))


def test_the_stock_client_gets_a_label_on_the_scans_grid_and_our_risk(server, client, image):
    label_file, params = client.infer(server.model, image, {"result_extension": ".nii.gz", "result_dtype": "uint8"})
    label, scan = nib.load(label_file), nib.load(server.studies / f"{image}.nii.gz")
    assert label.get_data_dtype() == np.uint8
    assert label.shape == scan.shape
    np.testing.assert_allclose(label.affine, scan.affine, atol=1e-4)
    risk = wire.Risk.model_validate(params["risk"])
    assert risk.provenance.model == server.model
    assert set(risk.maps) >= {"predictive_entropy", "error_probability"}
    assert params["label_names"] == {row.name: row.id for row in risk.structures}


def test_the_label_comes_as_nrrd_for_clients_that_ask_for_it(server, client, image):
    sitk = pytest.importorskip("SimpleITK")
    label_file, _ = client.infer(server.model, image, {"result_extension": ".nrrd"})
    scan = sitk.ReadImage(str(server.studies / f"{image}.nii.gz"))
    label = sitk.ReadImage(label_file)
    assert label.GetSize() == scan.GetSize()
    np.testing.assert_allclose(label.GetOrigin(), scan.GetOrigin(), atol=1e-3)


def test_output_json_and_image_answer_one_part_each(server, image):
    answer = server.http.post(f"/infer/{server.model}?image={image}&output=json")
    assert wire.Risk.model_validate(answer.json()["risk"])
    answer = server.http.post(f"/infer/{server.model}?image={image}&output=image")
    assert nifti(answer.content).get_data_dtype() == np.uint8


def test_by_whatever_road_a_file_comes_the_result_is_the_same(server, client, image):
    path = server.studies / f"{image}.nii.gz"
    with path.open("rb") as file:
        server.http.put("/datastore/image?image=sent", files={"file": file})
    session = client.create_session(str(path))["session_id"]
    answers = [
        client.infer(server.model, "sent", {}),
        client.infer(server.model, "", {}, file=str(path)),
        client.infer(server.model, "", {}, session_id=session),
    ]
    assert len({params["risk"]["result"] for _, params in answers}) == 1
    _, copied = client.infer(server.model, image, {})  # as a person put it there, byte by byte
    sent = answers[0][1]["risk"]
    for name in ("variance", "error_probability"):
        maps = [server.volume(risk["maps"][name]["url"]) for risk in (sent, copied["risk"])]
        assert np.array_equal(maps[0].get_fdata(), maps[1].get_fdata())
        assert np.array_equal(maps[0].affine, maps[1].affine)
    client.remove_session(session)
    server.http.delete("/datastore/image?id=sent")


def test_maps_are_uint16_with_a_slope_and_an_etag_that_saves_the_second_transfer(server, result):
    entropy = result.risk.maps["predictive_entropy"]
    first = server.http.get(entropy.url)
    volume = nifti(first.content)
    assert volume.get_data_dtype() == np.uint16
    values = volume.get_fdata()
    assert entropy.range[0] <= values.min() < values.max() <= entropy.range[1] * (1 + 1e-4)
    again = server.http.get(entropy.url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert server.http.get(entropy.url).content == first.content


def test_every_promised_map_and_the_label_can_be_fetched(server, result):
    shape = nifti(server.http.get(result.label).content).shape
    for info in result.risk.maps.values():
        assert nifti(server.http.get(info.url).content).shape == shape


def test_a_result_that_is_there_ends_the_job_before_it_begins(server, result, image):
    job = server.state(server.job(kind="infer", model=server.model, image=image))
    assert job["state"] == "done"
    assert job["result"]["risk"]["result"] == result.risk.result


def test_the_shapes_of_what_is_labelled_come_with_the_result(server, result):
    label = nifti(server.http.get(result.label).content)
    wanted = shape_features(np.asarray(label.dataobj, np.uint8), label.affine, result.labels)
    assert any(row.flag is None for row in wanted)
    for row in wanted:
        shape = next(structure.shape for structure in result.risk.structures if structure.id == row.id)
        assert (shape is None) == (row.flag == "absent")
        if shape:
            assert (shape.components, shape.box_ijk) == (row.components, row.box_ijk)
            assert shape.centroid_mm == pytest.approx(row.centroid_mm, abs=1e-3)
            assert shape.surface_mm2 == pytest.approx(row.surface_mm2, rel=1e-4)


def test_another_seed_is_another_result(server, result, image):
    job = server.ended(server.job(kind="infer", model=server.model, image=image, params={"seed": 1}))
    assert job["result"]["risk"]["result"] != result.risk.result
    assert job["result"]["risk"]["provenance"]["seed"] == 1


def test_the_stock_client_reports_an_unknown_model_with_our_message(server, client, image):
    with pytest.raises(MONAILabelClientException) as error:
        client.infer("spleen", image, {})
    assert "404" in error.value.msg
    assert server.model in error.value.msg


def test_passes_thresholds_and_a_crf_are_results_of_their_own(server, result, image):
    keys = {result.risk.result}
    for params in ({"method": "noise", "options": {"passes": 2}}, {"threshold": "fixed"}, {"crf": True}):
        job = server.infer(server.model, image, **params)
        assert job["state"] == "done", job["error"]
        assert job["result"]["risk"]["provenance"]["params"]
        keys.add(job["result"]["risk"]["result"])
    other = server.infer(server.model, image, method="deterministic")["result"]["risk"]  # the head of another model
    assert other["provenance"]["model"] == server.baseline
    keys.add(other["result"])
    assert len(keys) == 5


def test_settings_of_the_crf_and_of_thresholds_are_results_of_their_own_and_the_defaults_are_not(server, image):
    found = {}
    for params in (
        {"crf": True}, {"crf": True, "crf_weight": 3}, {"crf": True, "crf_weight": 10}, {"crf_weight": 10},
        {"threshold": "percentile"}, {"threshold": "percentile=95"},
        {"threshold": "percentile", "threshold_fixed": 0.2},
        {"threshold": "percentile", "threshold_percentile": 80}, {"threshold": "otsu", "threshold_of": "variance"}, {},
    ):  # fmt: skip
        job = server.infer(server.model, image, **params)
        assert job["state"] == "done", job["error"]
        found[json.dumps(params)] = wire.Risk.model_validate(job["result"]["risk"])
    plain, same, strong, off, *cuts, marked, nothing = found.values()
    assert plain.result == same.result != strong.result
    assert off.result == nothing.result
    assert strong.provenance.params["crf"]["weight"] == 10
    assert cuts[0].result == cuts[1].result == cuts[2].result != cuts[3].result
    assert (cuts[0].threshold.setting, cuts[3].threshold.setting) == (95, 80)
    assert cuts[3].threshold.value < cuts[0].threshold.value
    assert "above_threshold" in marked.maps
    assert marked.threshold.text == marked.maps["above_threshold"].description
    assert nothing.threshold is None


def test_the_expected_mismatch_of_a_structure_is_a_map_of_a_result_of_its_own(server, image, result):
    name = result.labels[0].name
    plain, asked = (server.infer(server.model, image, **params) for params in ({}, {"anomaly": name}))
    assert asked["state"] == "done", asked["error"]
    plain, found = (wire.Risk.model_validate(job["result"]["risk"]) for job in (plain, asked))
    assert found.result != plain.result
    assert found.maps.keys() - plain.maps.keys() == {"expected_mismatch"}
    assert f"wrong side of {name}" in found.maps["expected_mismatch"].description
    own = next(row for row in found.structures if row.name == name)
    heat = server.volume(found.maps["expected_mismatch"].url).get_fdata()
    size = np.count_nonzero(server.volume(asked["result"]["label"]).get_fdata() == own.id)
    assert own.expected_anomaly == pytest.approx(heat.sum() / size, rel=0.02)
    assert own == next(row for row in plain.structures if row.name == name)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"anomaly": "spleen"}, ("no structure 'spleen'",)),
        ({"crf": True, "crf_weight": 101}, ("crf_weight", "from 0 to 100")),
        ({"crf": True, "crf_reach": 0}, ("crf_reach", "from 1 to 10")),
        ({"threshold": "percentile=120"}, ("percentile", "from 0 to 100")),
        ({"threshold": "otsu", "threshold_of": "spleen"}, ("spleen", "foreground")),
        ({"threshold": "variance:0.4"}, ("variance", "from 0 to")),
    ],
)
def test_settings_out_of_range_are_refused_with_the_range_before_anything_runs(server, image, params, words):
    request = {"kind": "infer", "model": server.model, "image": image, "params": params}
    for reply in (
        server.http.post("/uncertainty/v1/jobs", json=request),
        server.http.post(f"/infer/{server.model}?image={image}", data={"params": json.dumps(params)}),
    ):
        assert reply.status_code == 400
        assert all(word in reply.json()["detail"] for word in words), reply.json()


@pytest.mark.parametrize("params", [{"method": "magic"}, {"options": {"count": 3}}])
def test_a_method_that_does_not_exist_is_named_before_anything_runs(server, image, params):
    request = {"kind": "infer", "model": server.model, "image": image, "params": params}
    reply = server.http.post("/uncertainty/v1/jobs", json=request)
    assert reply.status_code == 400
    assert next(iter(params["options"]) if "options" in params else iter(params.values())) in reply.json()["detail"]


def test_points_named_as_monai_label_does_correct_the_result(server, result, image):
    name = result.labels[0].name
    for points in ({"foreground": [[5, 5, 5]], "label": name}, {name: [[5, 5, 5]]}):
        fields = {"params": json.dumps({**points, "background": []})}
        answer = server.http.post(f"/infer/{server.model}?image={image}&output=json", data=fields)
        assert answer.status_code == 200, answer.text
        risk = wire.Risk.model_validate(answer.json()["risk"])
        assert risk.result != result.risk.result
        assert risk.provenance.params["base"] == result.risk.result
    wrong = {"params": json.dumps({name: [[5, 5, 5000]]})}
    assert server.http.post(f"/infer/{server.model}?image={image}", data=wrong).status_code == 400
