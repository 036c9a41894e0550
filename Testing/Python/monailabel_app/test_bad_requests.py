"""Whatever a client gets wrong: 4xx JSON with one message, and nothing changes."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

JOBS = "/uncertainty/v1/jobs"
RESULTS = "/uncertainty/v1/results"


def refused(answer, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    for word in words:
        assert word in detail


@pytest.fixture
def add_scan(server, image):
    """Puts a file straight into the studies folder, as a user would, and takes it away again."""
    added = []

    def add(name: str, data: bytes) -> str:
        path = server.studies / name
        path.write_bytes(data)
        added.append(path)
        image_id = name.removesuffix(".nii.gz")
        server.wait_until(lambda: image_id in server.images())
        return image_id

    yield add
    for path in added:
        server.http.delete("/datastore/image", params={"id": path.name.removesuffix(".nii.gz")})
        path.unlink(missing_ok=True)


def test_an_unknown_model_is_answered_with_those_there_are(server, image):
    refused(server.http.post(f"/infer/spleen?image={image}"), 404, "spleen", server.model)
    refused(server.http.post(JOBS, json={"kind": "infer", "model": "spleen", "image": image}), 404, "spleen")
    refused(server.http.post("/activelearning/predictive_entropy", json={"model": "spleen"}), 404, "spleen")


def test_an_unknown_image_is_answered_with_404(server):
    refused(server.http.post(f"/infer/{server.model}?image=nobody"), 404, "nobody")
    refused(server.http.post(JOBS, json={"kind": "score", "model": server.model, "image": "nobody"}), 404, "nobody")
    refused(server.http.put("/datastore/image/info?image=nobody", data={"info": "{}"}), 404, "nobody")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(min_size=1, max_size=60), st.from_regex(r"(\.\./|/)+[a-z./]{1,30}", fullmatch=True)))
@example("/etc/passwd")
@example("../server/log.txt")
@example("datastore_v2.json")
@example("a\x00b")
def test_no_text_makes_the_server_open_a_file_that_is_not_a_stored_image(server, text):
    for output in ("json", "image"):
        answer = server.http.post(f"/infer/{server.model}", params={"image": text, "output": output})
        refused(answer, 404)
    refused(server.http.post(JOBS, json={"kind": "infer", "model": server.model, "image": text}), 404)


def test_the_path_of_a_stored_image_is_not_its_id(server, image):
    path = str(server.studies / f"{image}.nii.gz")
    refused(server.http.post(f"/infer/{server.model}", params={"image": path}), 404)


def test_params_cannot_name_the_file_to_read(server, cached):
    stolen = '{"image": "/etc/passwd", "upload": "/etc/passwd", "image_id": "x", "save_label": true}'
    answer = server.http.post(f"/infer/{server.baseline}?image={cached}&output=json", data={"params": stolen})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("params", "word"),
    [('{"seed": "x"}', "seed"), ('{"samples": 0}', "samples"), ("{", "params"), ("[]", "params")],
)
def test_a_wrong_parameter_is_named(server, image, params, word):
    refused(server.http.post(f"/infer/{server.model}?image={image}", data={"params": params}), 400, word)


def test_a_misspelt_parameter_of_a_job_is_an_error(server, image):
    request = {"kind": "infer", "model": server.model, "image": image, "params": {"sed": 1}}
    refused(server.http.post(JOBS, json=request), 400, "sed")


def test_a_form_field_that_is_not_json_is_refused_by_stock_routes_too(server, image):
    refused(server.http.put(f"/datastore/image/info?image={image}", data={"info": "{"}), 400, "JSON")


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_record_that_is_no_json_object_is_refused(server, image, saved_label, kind):
    url = f"/datastore/{kind}/info?{kind}={image}&tag=final"
    refused(server.http.put(url, data={"info": "[1]"}), 400, "info", "JSON object")


@pytest.mark.parametrize("model", [["a"], {"a": 1}, 5])
def test_a_model_that_is_no_name_is_refused_by_stock_routes_too(server, model):
    refused(server.http.post("/activelearning/predictive_entropy", json={"model": model}), 400, "model", "string")
    refused(server.http.post("/scoring/predictive_entropy", json={"model": model}), 404, server.model)
    refused(server.http.post("/scoring/", json={"predictive_entropy": {"model": model}}), 404, server.model)


def test_parameters_of_scoring_that_are_no_object_are_refused(server):
    refused(server.http.post("/scoring/", json={"predictive_entropy": 5}), 422, "predictive_entropy")


def test_a_session_unpacks_no_archive(server, tmp_path):
    outside = tmp_path / "outside.txt"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo(f"{'../' * 20}{outside}")
        archive.addfile(member)
    files = {"files": ("scan.tar", data.getvalue())}
    refused(server.http.put("/session/?uncompress=true", files=files), 405, "uncompress")
    assert not outside.exists()


@pytest.mark.parametrize("name", ["..", "../..", "\\..\\.."])
def test_a_session_file_cannot_have_a_path_as_its_name(server, name):
    refused(server.http.put("/session/", files={"files": (name, b"x")}), 400, "file name")


def test_a_malformed_job_is_answered_with_the_field(server):
    refused(server.http.post(JOBS, json={"kind": "guess", "model": server.model}), 422, "kind")
    refused(server.http.post(JOBS, json={"kind": "infer", "model": server.model}), 400, "image")


def test_a_request_without_image_is_refused(server):
    refused(server.http.post(f"/infer/{server.model}"), 400, "image")
    refused(server.http.post(f"/infer/{server.model}?session_id=../../x"), 404, "session")
    refused(server.http.post(f"/infer/{server.model}?image=x&output=dicom_seg"), 400, "DICOM")


def test_a_truncated_scan_fails_with_its_name(server, scans, add_scan):
    image = add_scan("cut.nii.gz", scans[0].read_bytes()[:3000])
    refused(server.http.post(f"/infer/{server.baseline}?image={image}"), 400, "cut.nii.gz")


def test_a_constant_scan_fails_with_its_name_and_the_worker_goes_on(server, add_scan, image):
    data = nib.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)).to_bytes()
    flat = add_scan("flat.nii.gz", gzip.compress(data))
    state = server.infer(server.baseline, flat)
    assert state["state"] == "failed"
    assert "flat.nii.gz" in state["error"]
    assert server.infer(server.baseline, image)["state"] == "done"


def test_a_score_job_names_the_scans_it_could_not_read(server, add_scan):
    image = add_scan("broken.nii.gz", b"no scan")
    state = server.ended(server.job(kind="score", model=server.baseline))
    assert state["state"] == "done"
    assert list(state["result"]["failed"]) == [image]
    assert set(state["result"]["scores"]) == set(server.images()) - {image}


def test_unknown_jobs_results_and_maps_are_404(server, cached):
    refused(server.http.get(f"{JOBS}/nothing"), 404)
    refused(server.http.delete(f"{JOBS}/nothing"), 404)
    refused(server.http.get(f"{RESULTS}/{'0' * 64}/label.nii.gz"), 404)
    refused(server.http.get(f"{RESULTS}/{'0' * 64}/maps/variance.nii.gz"), 404)
    refused(server.http.get(f"{RESULTS}/..%2F..%2Fx/label.nii.gz"), 404)
    refused(server.http.get(f"{RESULTS}/not-a-key/label.nii.gz"), 404)
    key = server.infer(server.baseline, cached)["result"]["risk"]["result"]
    refused(server.http.get(f"{RESULTS}/{key}/maps/..%2F..%2Flabel.nii.gz"), 404)
    refused(server.http.get(f"{RESULTS}/{key}/maps/nonsense.nii.gz"), 404, "variance")


@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("PUT", "/model/anything", "weights"),
        ("DELETE", "/model/anything", "weights"),
        ("POST", "/infer/wsi/anything", "volumes"),
        ("POST", "/infer/wsi_v2/anything", "volumes"),
        ("POST", "/reload", "restart"),
        ("GET", "/proxy/dicom/wado/studies", "DICOMweb"),
    ],
)
def test_what_this_version_does_not_offer_is_said_so(server, method, path, word):
    refused(server.http.request(method, path), 405, word)


@pytest.mark.parametrize("headers", [{"Host": "example.org"}, {"Origin": "https://example.org"}, {"Origin": "null"}])
def test_other_hosts_and_web_pages_from_elsewhere_are_refused(server, headers):
    refused(server.http.get("/info/", headers=headers), 403, "loopback")


def test_its_own_pages_may_ask_and_those_of_other_programs_on_this_machine_may_not(server):
    assert server.http.get("/info/", headers={"Origin": server.url}).status_code == 200
    refused(server.http.get("/info/", headers={"Origin": "http://localhost:8080"}), 403, "--allow-origin")


@pytest.mark.parametrize("image_id", ["../escape", "a/b", ".hidden", "x" * 200, "a\nb"])
def test_an_upload_cannot_choose_a_path_as_its_id(server, scans, image_id):
    before = server.images()
    with scans[0].open("rb") as file:
        refused(server.http.put("/datastore/image", params={"image": image_id}, files={"file": file}), 400)
    assert server.images() == before
    assert not (server.studies.parent / "escape.nii.gz").exists()


def test_an_upload_that_is_no_scan_or_takes_an_id_is_not_kept(server, scans, image):
    stored = (server.studies / f"{image}.nii.gz").read_bytes()
    refused(server.http.put("/datastore/image", files={"file": ("new.nii.gz", b"no scan")}), 400, "new.nii.gz")
    refused(server.http.put("/datastore/image", files={"file": ("new.txt", b"no scan")}), 400, "new.txt")
    other = {"file": (f"{image}.nii.gz", scans[1].read_bytes())}
    refused(server.http.put("/datastore/image", files=other), 400, "already")
    assert (server.studies / f"{image}.nii.gz").read_bytes() == stored
    assert "new" not in server.images()


def test_a_dataset_without_labels_cannot_be_downloaded(server):
    refused(server.http.get("/datastore/dataset"), 400, "label")


def test_the_studies_folder_holds_only_what_belongs_there(server, scans):
    shutil.copy(scans[0], server.studies / "extra.nii.gz")
    server.wait_until(lambda: "extra" in server.images())
    (server.studies / "extra.nii.gz").unlink()
    server.wait_until(lambda: "extra" not in server.images())
    assert server.http.get("/datastore/").json()["missing"] == ["extra"]
    server.http.delete("/datastore/image?id=extra")
    names = {path.name for path in server.studies.iterdir()} - {scan.name for scan in scans}
    records = {"studies.sqlite", "studies.sqlite-wal", "datastore_v2.json", ".server.lock"}
    assert {name for name in names if not name.endswith(".tmp")} <= {"labels", "versions", *records}


_DEEP = "[" * 100 + "]" * 100
_NO_JSON_FOR_ALL = ('"\\ud800"', "NaN", "-Infinity", "1e999", "9223372036854775808", _DEEP)


@pytest.mark.parametrize("value", _NO_JSON_FOR_ALL)
def test_what_could_not_be_read_back_is_refused_wherever_it_is_sent(server, image, saved_label, scans, value):
    info = f'{{"a": {value}}}'
    label = {"label": ("label.nii.gz", saved_label.read_bytes())}
    scan = {"file": ("odd.nii.gz", scans[0].read_bytes())}
    for answer in (
        server.http.put(f"/datastore/image/info?image={image}", data={"info": info}),
        server.http.put(f"/datastore/label/info?label={image}&tag=final", data={"info": info}),
        server.http.put(f"/datastore/updatelabelinfo?label={image}&tag=final", data={"params": info}),
        server.http.put(f"/datastore/label?image={image}&tag=final", data={"params": info}, files=label),
        server.http.put("/datastore/image?image=odd", data={"params": info}, files=scan),
    ):
        assert answer.status_code == 400, answer.text
    assert "odd" not in server.images()
    assert server.http.get("/uncertainty/v1/cases").status_code == 200


def test_the_largest_numbers_are_kept_and_hurt_nobody(server, image):
    info = {"large": 1e300, "ts": 1e300, "name": {"x": 2**62}}
    before = server.http.get(f"/datastore/image/info?image={image}").json()
    for noted in (info, {"lease": {"annotator": "x", "until": 1e300}}, {"strategy": {"random": {"ts": 1e300}}}):
        for answer in (
            server.http.put(f"/datastore/image/info?image={image}", data={"info": json.dumps(noted)}),
            server.http.get("/uncertainty/v1/cases"),
            server.http.post("/activelearning/random", json={"lease_minutes": 0}),
        ):
            assert answer.status_code == 200, answer.text
    known = server.http.get(f"/datastore/image/info?image={image}").json()
    assert known["large"] == 1e300
    put_back = {"large": None, **{key: before.get(key) for key in ("ts", "name", "lease", "strategy")}}
    server.http.put(f"/datastore/image/info?image={image}", data={"info": json.dumps(put_back)})
