"""MONAI Label's Python client, its Slicer plugin's client and the requests of its OHIF plugins drive it."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import sys
from pathlib import Path

import httpx
import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from monailabel.client.client import MONAILabelClient

from Testing.Python.servers import SERVE

OHIF = "http://localhost:3000"
SLICER_CLIENT = Path(sys.prefix) / "monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py"


@pytest.fixture(scope="module")
def server(launch, scans, tmp_path_factory):
    """A server that pages of OHIF may use."""
    return launch([*SERVE, "--allow-origin", OHIF, "--cache", str(tmp_path_factory.mktemp("cache"))], scans)


def slicer_client() -> type[MONAILabelClient]:
    """The copy of the client that the Slicer plugin carries; MONAI Label's wheel installs it beside the package."""
    if not SLICER_CLIENT.is_file():
        pytest.skip("MONAI Label's wheel brought no Slicer plugin")
    spec = importlib.util.spec_from_file_location("slicer_client", SLICER_CLIENT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    logging.getLogger().setLevel(logging.WARNING)  # it wants INFO of everybody
    return module.MONAILabelClient


@pytest.fixture(params=["python", "slicer"])
def client(request, server, tmp_path):
    kind = MONAILabelClient if request.param == "python" else slicer_client()
    return kind(server.url, tmpdir=str(tmp_path), client_id="annotator-1")


def voxels(path: str | Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_annotation_loop_of_both_clients_goes_round(client, server, scans, tmp_path):
    """Connect, next sample, infer as the Slicer plugin asks for it, save, read back."""
    info = client.info()
    assert not info.get("config"), "the plugin takes it for an outdated server"
    assert {"name", "labels", "models", "trainers", "strategies", "datastore"} <= set(info)
    sample = client.next_sample("random", {})
    assert {"id", "name", "ts"} <= set(sample)  # both clients do without MONAI Label's "path", a folder of the server
    params = {"result_extension": ".nrrd", "result_dtype": "uint8"}
    file, answer = client.infer(server.model, sample["id"], params)
    assert Path(file).suffix == ".nrrd"
    predicted = voxels(file)
    assert predicted.dtype == np.uint8
    assert set(answer["label_names"]) == set(info["models"][server.model]["labels"])
    label_info = [{"name": name, "idx": index} for name, index in answer["label_names"].items()]
    client.save_label(sample["id"], file, params={"label_info": label_info})
    datastore = client.datastore()
    assert datastore["objects"][sample["id"]]["labels"]["final"]["info"]["label_info"] == label_info
    assert np.array_equal(voxels(client.download_label(sample["id"], "final")), predicted)
    assert client.next_sample("random", {})["id"] != sample["id"]
    server.remove_label(sample["id"])


def test_both_clients_infer_a_scan_that_they_upload(client, server, scans):
    session = client.create_session(str(scans[0]))["session_id"]
    assert client.get_session(session)["name"] == session
    file, answer = client.infer(server.baseline, "", {"result_extension": ".nrrd"}, session_id=session)
    assert voxels(file).shape == voxels(scans[0]).shape
    _, again = client.infer(server.baseline, "", {}, file=str(scans[0]))
    assert again["risk"]["result"] == answer["risk"]["result"]
    client.remove_session(session)


def test_both_clients_upload_a_scan_to_the_datastore(client, server, scans):
    assert client.upload_image(str(scans[0]), "uploaded")["image"] == "uploaded"
    assert "uploaded" in client.datastore()["objects"]
    assert server.http.delete("/datastore/?id=uploaded").status_code == 200
    assert "uploaded" not in client.datastore()["objects"]


def test_the_clients_train_buttons_get_an_answer(client, server):
    assert client.train_status(check_if_running=True) is False
    client.train_stop()


def ohif_infer(server, image: str, output: str, **params) -> httpx.Response:
    """As MonaiLabelClient.js of the OHIF plugins posts it: form data made from FormData."""
    params |= {"result_extension": ".nrrd", "result_compress": False, "restore_label_idx": False}
    fields = {"params": (None, json.dumps({"result_dtype": "uint8", **params}))}
    url = f"/infer/{server.baseline}?image={image}&output={output}"
    return server.http.post(url, files=fields, headers={"Origin": OHIF})


@pytest.fixture
def image(scans) -> str:
    return scans[0].name.removesuffix(".nii.gz")


def test_the_ohif_panel_can_read_info(server):
    info = server.http.get("/info/", headers={"Origin": OHIF}).json()
    assert isinstance(info["labels"], list), "the panel adds to it"
    assert all(isinstance(model["labels"], list | dict) for model in info["models"].values())
    assert any(model["type"] == "segmentation" for model in info["models"].values())
    assert {"completed", "total"} <= set(info["datastore"])
    assert isinstance(info["strategies"], dict)


@pytest.mark.parametrize("clicks", ["none", "deepedit", "deepgrow"])
def test_the_ohif_panel_gets_one_nrrd_file_of_bytes(server, image, scans, clicks):
    name = next(iter(server.http.get("/info/").json()["models"][server.baseline]["labels"]))
    point = [[10, 12, 8]]
    by_kind = {"none": {}, "deepedit": {name: point}, "deepgrow": {"foreground": point, "label": name}}
    answer = ohif_infer(server, image, "image", background=[], **by_kind[clicks])
    assert answer.status_code == 200, answer.text
    stream = io.BytesIO(answer.content)
    header = nrrd.read_header(stream)
    values = nrrd.read_data(header, stream)
    assert values.dtype == np.uint8
    assert values.shape == nib.load(scans[0]).shape
    assert header["encoding"] in ("raw", "gzip"), "what its reader knows"


def test_older_ohif_panels_get_multipart_with_json_and_file(server, image):
    answer = ohif_infer(server, image, "all", result_dtype="uint16")
    assert answer.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b"Content-Type: application/json" in answer.content
    assert b"NRRD" in answer.content


def test_ohif_saves_a_label_as_label_bin(server, image, scans, tmp_path):
    scan = sitk.ReadImage(str(scans[0]))
    label = sitk.GetImageFromArray(np.ones(scan.GetSize()[::-1], np.uint8))
    label.CopyInformation(scan)
    sitk.WriteImage(label, str(tmp_path / "label.nrrd"))
    files = {"label": ("label.bin", (tmp_path / "label.nrrd").read_bytes())}
    answer = server.http.put(f"/datastore/label?image={image}", data={"params": '{"label_info": []}'}, files=files)
    assert answer.status_code == 200, answer.text
    saved = server.http.get(f"/datastore/label?label={image}&tag=final").content
    (tmp_path / "saved.nii.gz").write_bytes(saved)
    assert (voxels(tmp_path / "saved.nii.gz") == 1).all()
    server.remove_label(image)


def test_ohif_asks_for_training_and_samples_as_json(server):
    assert "id" in server.http.post("/activelearning/random", json={}).json()
    assert server.http.get("/train/?check_if_running=true").status_code == 404
    assert server.http.delete("/train/").status_code == 200
