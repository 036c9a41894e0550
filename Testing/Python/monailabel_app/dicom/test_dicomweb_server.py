"""Our real server over a real Orthanc: infer, next sample, label back as SEG, risk map as Parametric Map."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import highdicom as hd
import httpx
import nibabel as nib
import numpy as np
import pydicom
import pytest

from Testing.Python import servers
from Testing.Python.monailabel_app.dicom.conftest import SHAPE

ROUTE = "/uncertainty/v1/results"
MODEL = "phantom_deterministic"


def volume(reply: httpx.Response) -> nib.Nifti1Image:
    """What a reply holds as compressed NIfTI."""
    assert reply.status_code == 200, reply.text
    return nib.Nifti1Image.from_bytes(gzip.decompress(reply.content))


@pytest.fixture(scope="module")
def password() -> str:
    return "correct horse battery"


@pytest.fixture(scope="module")
def guarded_orthanc(start_orthanc, orthanc_folders, password):
    """An Orthanc that wants a password."""
    server = start_orthanc(password)
    for folder in orthanc_folders.values():
        server.upload(folder)
    return server


@pytest.fixture(scope="module")
def dicom_server(guarded_orthanc, password, tmp_path_factory):
    """`uncertaintyseg serve --studies http://...`."""
    folder, port = tmp_path_factory.mktemp("dicom_server"), servers.find_free_port()
    secret = folder / "password"
    secret.write_text(password)
    environment = {
        "UNCERTAINTYSEG_DICOMWEB_USERNAME": "annotator",
        "UNCERTAINTYSEG_DICOMWEB_PASSWORD_FILE": str(secret),
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "mirror"),
    }
    command = [*servers.SERVE, "--studies", guarded_orthanc.url, "--port", str(port), "--cache", str(folder / "cache")]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        process = servers.start(command, port, folder)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
        yield servers.Server(process, http, folder / "mirror", folder / "log.txt")
    servers.stop(process)


@pytest.fixture(scope="module")
def image(uids) -> str:
    return uids["oblique"]


@pytest.fixture(scope="module")
def result(dicom_server, image) -> dict:
    """An inference of the oblique series."""
    job = dicom_server.infer(MODEL, image)
    assert job["state"] == "done", job
    return job["result"]


def test_every_series_is_offered_and_can_be_downloaded(dicom_server, uids, image):
    assert set(dicom_server.images()) == set(uids.values())
    assert volume(dicom_server.http.get(f"/datastore/image?image={image}")).shape == SHAPE
    assert dicom_server.http.head(f"/datastore/image?image={image}").status_code == 200
    assert dicom_server.http.get("/datastore/image?image=1.2.3").status_code == 404


def test_the_next_sample_is_a_series_with_its_study(dicom_server, uids):
    sample = dicom_server.http.post("/activelearning/random", json={}).json()
    assert sample["id"] in uids.values()
    assert sample["SeriesInstanceUID"] == sample["id"]


def test_a_risk_map_is_stored_in_the_study_of_its_series(dicom_server, guarded_orthanc, image, result):
    key, info = result["risk"]["result"], result["risk"]["maps"]["predictive_entropy"]
    reply = dicom_server.http.post(f"{ROUTE}/{key}/maps/predictive_entropy/dicom?image={image}")
    assert reply.status_code == 201, reply.text
    [stored] = guarded_orthanc.instances(reply.json()["series_instance_uid"])
    mapping = stored.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    values = (stored.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept).transpose(2, 1, 0)
    nifti = volume(dicom_server.http.get(info["url"]))
    np.testing.assert_allclose(values, nifti.get_fdata(), atol=1e-6)
    assert values.max() > 0
    first = stored.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    np.testing.assert_allclose(np.array(first, float) * [-1, -1, 1], nifti.affine[:3, 3], atol=1e-3)
    assert stored.StudyInstanceUID == reply.json()["study_instance_uid"]
    assert stored.SeriesDescription == f"predictive_entropy {MODEL}"


@pytest.mark.parametrize(
    ("key", "name", "series"),
    [("0" * 64, "variance", None), (None, "nonsense", None), (None, "variance", "1.2.3"), (None, "variance", "../x")],
)
def test_a_map_that_is_not_there_is_not_stored(dicom_server, result, image, key, name, series):
    key, series = key or result["risk"]["result"], series or image
    reply = dicom_server.http.post(f"{ROUTE}/{key}/maps/{name}/dicom", params={"image": series})
    assert reply.status_code == 404
    assert reply.json()["detail"]


def test_a_map_goes_to_no_series_of_another_grid(dicom_server, result, uids):
    key = result["risk"]["result"]
    reply = dicom_server.http.post(f"{ROUTE}/{key}/maps/predictive_entropy/dicom?image={uids['scaled']}")
    assert reply.status_code == 400
    assert "grid" in reply.json()["detail"]


def test_an_inference_can_answer_with_dicom_seg(dicom_server, image, result):
    reply = dicom_server.http.post(f"/infer/{MODEL}?image={image}&output=dicom_seg")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/dicom")
    seg = hd.seg.Segmentation.from_dataset(pydicom.dcmread(io.BytesIO(reply.content)))
    assert {segment.SegmentAlgorithmType for segment in seg.SegmentSequence} == {"AUTOMATIC"}
    label = volume(dicom_server.http.get(result["label"])).get_fdata()
    counts = {segment.SegmentLabel: 0 for segment in seg.SegmentSequence}
    frames = seg.pixel_array.reshape(-1, *SHAPE[1::-1])
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        counts[seg.SegmentSequence[number - 1].SegmentLabel] += int(frame.sum())
    assert counts == {name: int((label == value).sum()) for name, value in result["label_names"].items()}


def test_an_upload_has_no_series_to_refer_to(dicom_server, tmp_path):
    nib.Nifti1Image(np.random.default_rng(0).random(SHAPE, np.float32), np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    with (tmp_path / "a.nii.gz").open("rb") as file:
        reply = dicom_server.http.post(f"/infer/{MODEL}?output=dicom_seg", files={"file": file})
    assert reply.status_code == 400
    assert "upload" in reply.json()["detail"]


def test_a_saved_label_reaches_the_server_as_seg(dicom_server, guarded_orthanc, image, tmp_path):
    scan = volume(dicom_server.http.get(f"/datastore/image?image={image}"))
    values = np.zeros(SHAPE, np.uint8)
    values[5:12, 6:15, 3:8], values[8:10, 8:11, 4:6] = 1, 2
    nib.Nifti1Image(values, scan.affine).to_filename(tmp_path / "label.nii.gz")
    reply = dicom_server.put_label(image, tmp_path / "label.nii.gz", model=MODEL)
    assert reply.status_code == 200, reply.text
    info = dicom_server.http.get(f"/datastore/label/info?label={image}&tag=final").json()
    assert info["dicom"] == "stored"
    [stored] = guarded_orthanc.instances(info["series_instance_uid"])
    seg = hd.seg.Segmentation.from_dataset(stored)
    assert seg.SOPInstanceUID == info["sop_instance_uid"]
    assert {segment.SegmentAlgorithmType for segment in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == image
    assert stored.pixel_array.sum() == (values > 0).sum()
    assert image not in {dicom_server.http.post("/activelearning/random", json={}).json()["id"] for _ in range(5)}


def test_the_password_is_nowhere_to_be_read(dicom_server, password):
    assert password not in dicom_server.log.read_text(encoding="utf-8")
    command = Path(f"/proc/{dicom_server.process.pid}/cmdline")
    if command.exists():
        assert password.encode() not in command.read_bytes()
    for route in ("/info/", "/datastore/?output=all", "/logs/"):
        assert password not in dicom_server.http.get(route).text
