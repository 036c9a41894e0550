"""MONAI Label's own routes that do not depend on the model still answer as its clients expect."""

from __future__ import annotations

import gzip
import io
import zipfile

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.client.client import MONAILabelClient


@pytest.fixture
def client(server, tmp_path) -> MONAILabelClient:
    return MONAILabelClient(server.url, tmpdir=str(tmp_path))


def test_info_lists_models_strategies_scoring_and_counts(server, client):
    info = client.info()
    model = info["models"][server.model]
    assert model["type"] == "segmentation"
    assert model["bundle"] == server.model
    assert model["head"] == "low_rank"
    assert len(model["checksum"]) == 64
    assert model["calibrated"]
    assert "cases" in model["calibration"]
    assert model["trainable"]
    assert model["version"] is None
    assert "predictive_entropy" in model["maps"]
    assert sorted(model["labels"].values()) == [1, 2]
    assert set(info["strategies"]) >= {"random", "predictive_entropy"}
    assert set(info["scoring"]) == {"predictive_entropy"}
    assert info["trainers"][server.model]["config"]["scope"] == ["whole", "head"]
    assert info["datastore"]["total"] == len(server.images())


def test_the_datastore_lists_serves_and_describes_images(server, client, image):
    assert image in client.datastore()["objects"]
    assert server.http.get("/datastore/").json()["total"] == len(server.images())
    assert server.http.get("/datastore/?output=train").json() == []
    stored = (server.studies / f"{image}.nii.gz").read_bytes()
    assert server.http.get(f"/datastore/image?image={image}").content == stored
    assert server.http.head(f"/datastore/image?image={image}").status_code == 200
    assert server.http.head("/datastore/image?image=nobody").status_code == 404
    server.http.put(f"/datastore/image/info?image={image}", data={"info": '{"ward": 3}'})
    assert server.http.get(f"/datastore/image/info?image={image}").json()["ward"] == 3


def test_a_scan_of_two_files_is_served_and_removed_whole(server, client, scans):
    whole = sitk.ReadImage(str(scans[0]))
    path = server.studies / "detached.mhd"
    sitk.WriteImage(whole, str(path))
    try:
        server.wait_until(lambda: "detached" in server.images())
        answer = server.http.get("/datastore/image?image=detached")
        assert 'filename="detached.nii.gz"' in answer.headers["content-disposition"]
        served = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
        np.testing.assert_array_equal(served.get_fdata().T, sitk.GetArrayFromImage(whole))
        np.testing.assert_allclose(served.affine, nib.load(scans[0]).affine, atol=1e-5)
        label = nib.Nifti1Image(np.zeros(served.shape, np.uint8), served.affine).to_bytes()
        saved = server.http.put("/datastore/label?image=detached", files={"label": ("l.nii", label)})
        assert saved.status_code == 200, saved.text
        with zipfile.ZipFile(io.BytesIO(server.http.get("/datastore/dataset").content)) as archive:
            assert archive.read("image/detached.nii.gz") == answer.content
            assert "label/detached.nii.gz" in archive.namelist()
    finally:
        server.http.delete("/datastore/image?id=detached")
        assert not list(server.studies.glob("detached*"))
    server.wait_until(lambda: "detached" not in server.images())


def test_labels_can_be_found_downloaded_and_removed(server, client, image, saved_label):
    assert server.http.head(f"/datastore/label?image={image}&tag=final").status_code == 200
    assert server.http.get(f"/datastore/label?label={image}&tag=final").status_code == 200
    assert server.http.get("/datastore/dataset").headers["content-type"] == "application/zip"


def test_an_image_is_uploaded_and_removed(server, client, scans):
    assert client.upload_image(str(scans[0]), "uploaded")["image"] == "uploaded"
    assert "uploaded" in server.images()
    server.http.delete("/datastore/image?id=uploaded")
    server.wait_until(lambda: "uploaded" not in server.images())


def test_a_session_lives_until_it_is_removed(server, client, scans):
    session = client.create_session(str(scans[0]))["session_id"]
    assert client.get_session(session)["name"] == session
    client.remove_session(session)
    assert server.http.get(f"/session/{session}").status_code == 404


@pytest.mark.parametrize("session", ["%2e%2e", "..%2f..%2fx", "nobody"])
def test_a_session_id_cannot_be_a_path(server, session):
    assert server.http.get(f"/session/{session}").status_code == 404
    assert server.http.delete(f"/session/{session}").status_code in (404, 405)


def test_weights_can_be_described_and_downloaded(server):
    info = server.http.get(f"/model/info/{server.model}").json()
    assert info["checksum"] == f"SHA256:{server.http.get('/info/').json()['models'][server.model]['checksum']}"
    assert len(server.http.get(f"/model/{server.model}").content) > 10_000
    assert server.http.get("/model/spleen").status_code == 404


@pytest.mark.parametrize("path", ["/train/", "/batch/infer"])
def test_no_task_is_running(server, path):
    assert server.http.get(f"{path}?check_if_running=true").status_code == 404
    assert server.http.delete(path).status_code == 200


def test_logs_docs_and_ohif_are_served(server):
    assert "Uvicorn" in server.http.get("/logs/?html=false&lines=500").text or server.log.exists()
    assert server.http.get("/").status_code == 200
    assert server.http.get("/ohif/").status_code == 200
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {"/info/", "/infer/{model}", "/uncertainty/v1/jobs"} <= set(paths)
