"""The server as a hospital would run it: tokens, TLS, roles and the audit log, from end to end."""

from __future__ import annotations

import gzip
import json
import os
import ssl
import stat
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from monailabel.client.client import MONAILabelClient

from Testing.Python.monailabel_app.conftest import MAX_UPLOAD_MB
from Testing.Python.monailabel_app.guarded import Guarded, command_line
from Testing.Python.servers import TASK
from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.client import Client

MODEL = f"{TASK}_low_rank"


@pytest.fixture(scope="module")
def job(guarded, image) -> dict:
    """An inference that the annotator asked for."""
    request = {"kind": "infer", "model": MODEL, "image": image, "params": {"seed": 7}}
    answer = guarded.clients["annotator"].post("/uncertainty/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    return guarded.ended(answer.json()["id"])


@pytest.fixture(scope="module")
def predicted(guarded, job) -> nib.Nifti1Image:
    """The model's label."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(guarded.clients["viewer"].get(job["result"]["label"]).content))


def save(guarded: Guarded, who: str, image: str, label: nib.Nifti1Image, **params: object) -> httpx.Response:
    files = {"label": ("label.nii.gz", gzip.compress(label.to_bytes()))}
    fields = {"params": json.dumps(params)}
    return guarded.clients[who].put(f"/datastore/label?image={image}&tag=final", files=files, data=fields)


def test_promise_1_it_listens_on_every_address_with_tls_only(guarded):
    port = httpx.URL(guarded.url).port
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/info/")
    with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
        httpx.get(f"{guarded.url}/info/")  # a client that does not know the certificate
    assert guarded.clients["nobody"].get("/info/").status_code == 401
    assert guarded.clients["viewer"].get("/info/", headers={"Host": "example.org"}).status_code == 403


def test_the_start_says_where_who_and_what(guarded):
    log = guarded.log.splitlines()
    lines = log[next(number for number, line in enumerate(log) if line.startswith("listening on https://0.0.0.0:")) :]
    assert lines[1] == (
        "for 5 tokens: admin-person (admin), annotator-person (annotator), reviewer-person (reviewer), "
        "trainer-person (trainer), viewer-person (viewer)"
    )
    assert lines[2] == f"audit log in {guarded.folder / 'audit'}"


@pytest.mark.parametrize(
    ("method", "path", "least"),
    [
        ("GET", "/info/", "viewer"),
        ("GET", "/docs", "viewer"),
        ("GET", "/openapi.json", "viewer"),
        ("GET", "/datastore/image?image=nobody", "viewer"),
        ("POST", "/infer/nobody?image=x", "annotator"),
        ("DELETE", "/datastore/label?id=nobody&tag=final", "annotator"),
        ("GET", "/model/nobody", "trainer"),
        ("GET", "/datastore/dataset", "trainer"),
        ("DELETE", "/datastore/image?id=nobody", "admin"),
        ("GET", "/uncertainty/v1/audit", "admin"),
        ("GET", "/logs/", "admin"),
    ],
)
def test_roles_are_steps(guarded, method, path, least):
    order = ["nobody", "viewer", "annotator", "reviewer", "trainer", "admin"]
    for who in order:
        status = guarded.clients[who].request(method, path).status_code
        if order.index(who) >= order.index(least):
            assert status not in (401, 403), who
        else:
            assert status == (401 if who == "nobody" else 403), who


@pytest.mark.parametrize("kind", ["train", "batch"])
def test_training_and_batch_jobs_take_a_trainer(guarded, kind):
    for who, refused in [("annotator", True), ("trainer", False)]:
        answer = guarded.clients[who].post("/uncertainty/v1/jobs", json={"kind": kind, "model": "nobody"})
        assert (answer.status_code == 403) is refused, answer.text


def test_promise_2_no_id_reaches_beyond_the_studies(guarded):
    before = sorted(path.name for path in guarded.folder.rglob("*") if "audit" not in path.parts)

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.one_of(st.text(min_size=1, max_size=50), st.from_regex(r"(\.\./|/|\\)+[a-z./]{1,30}", fullmatch=True)))
    @example("../tokens")
    @example("%2e%2e%2ftokens")
    @example("/etc/passwd")
    @example("a\x00b")
    @example("x" * 3000)
    @example("\u202e../\ufeff")
    def attempt(text: str) -> None:
        http = guarded.clients["admin"]
        quoted = httpx.URL("/").join("/").copy_with(params={"x": text}).query.decode()[2:].replace("+", "%20")
        answers = [
            http.get("/datastore/image", params={"image": text}),
            http.get("/datastore/image/info", params={"image": text}),
            http.get("/datastore/label", params={"label": text, "tag": "final"}),
            http.get("/datastore/label", params={"label": "x", "tag": text}),
            http.get("/datastore/label/info", params={"label": text, "tag": text}),
            http.put("/datastore/image/info", params={"image": text}, data={"info": "{}"}),
            http.put("/datastore/label/info", params={"label": text, "tag": "final"}, data={"info": "{}"}),
            http.delete("/datastore/image", params={"id": text}),
            http.post(f"/infer/{MODEL}", params={"image": text}),
            http.post(f"/infer/{MODEL}", params={"session_id": text}),
            http.post("/uncertainty/v1/jobs", json={"kind": "score", "model": MODEL, "image": text}),
            http.get(f"/session/{quoted}"),
            http.get(f"/model/{quoted}"),
            http.get(f"/model/info/{quoted}"),
            http.get(f"/uncertainty/v1/jobs/{quoted}"),
            http.get(f"/uncertainty/v1/models/{quoted}"),
            http.get(f"/uncertainty/v1/results/{quoted}/label.nii.gz"),
            http.get(f"/uncertainty/v1/results/{'0' * 64}/maps/{quoted}.nii.gz"),
            http.post(f"/activelearning/{quoted}", json={}),
            http.post(f"/scoring/{quoted}", json={}),
        ]
        for answer in answers:
            nothing = answer.status_code == 307 or answer.text == "{}"  # MONAI Label's record of an unknown id
            assert nothing or 400 <= answer.status_code < 500, (answer.request.url, answer.text)
        viewer = http.get(f"/ohif/{quoted}")
        assert viewer.status_code in (200, 404)
        assert "viewer-person" not in viewer.text  # the token file

    attempt()
    assert sorted(path.name for path in guarded.folder.rglob("*") if "audit" not in path.parts) == before


def test_promise_3_an_upload_cannot_name_a_file_of_the_server(guarded, tmp_path):
    secret = tmp_path / "secret.raw"
    secret.write_bytes(bytes(range(64)))
    head = f"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\nElementDataFile = {secret}\n"
    http = guarded.clients["annotator"]
    for name in ("scan.mha", "scan.mhd"):
        file = (name, head.encode())
        answers = [
            http.put("/datastore/image?image=stolen", files={"file": file}),
            http.put("/session/", files={"files": file}),
            http.post(f"/infer/{MODEL}", files={"file": file}),
        ]
        assert [answer.status_code for answer in answers] == [400] * 3
    assert not list(guarded.studies.glob("stolen*"))


def test_promise_4_no_route_changes_weights(guarded):
    for method in ("PUT", "DELETE"):
        assert guarded.clients["admin"].request(method, f"/model/{MODEL}", files={"file": b"x"}).status_code == 405


def test_promise_4_the_checksum_is_shown_with_the_model_and_with_each_result(guarded, job):
    checksum = guarded.clients["viewer"].get("/info/").json()["models"][MODEL]["checksum"]
    assert job["result"]["risk"]["provenance"]["weights_checksum"] == checksum


def test_promise_5_tokens_are_in_no_log_no_command_line_no_audit_line(guarded, job):
    wrong = "wrong-token-of-somebody"
    guarded.clients["nobody"].get("/info/", headers={"Authorization": f"Bearer {wrong}"})
    seen = guarded.log + command_line(guarded.process) + json.dumps(guarded.lines())
    seen += "".join(path.read_text(errors="replace") for path in (guarded.folder / "state").rglob("*.log"))
    for token in [*guarded.tokens.values(), wrong]:
        assert token not in seen
    assert guarded.lines("login_failed")


def test_promise_6_an_inference_is_noted_with_all_that_decides_it(guarded, job, image):
    [line] = [line for line in guarded.lines("infer") if line["job"] == job["id"]]
    provenance = job["result"]["risk"]["provenance"]
    assert line["who"] == "annotator-person"
    assert line["address"] == "127.0.0.1"
    assert (line["case"], line["model"], line["head"], line["seed"]) == (image, MODEL, provenance["head"], 7)
    assert line["checksum"] == provenance["weights_checksum"]
    assert line["result"] == job["result"]["risk"]["result"]


def test_promise_6_a_save_is_noted_with_voxels_changed_and_seconds_open(guarded, job, predicted, image):
    values = np.asarray(predicted.dataobj).copy()
    changed = np.argwhere(values == 0)[:13]
    values[tuple(changed.T)] = 1
    label = nib.Nifti1Image(values, predicted.affine)
    assert save(guarded, "annotator", image, label, seconds_open=41.5).status_code == 200
    line = guarded.lines("save")[-1]
    assert (line["who"], line["case"], line["tag"]) == ("annotator-person", image, "final")
    assert (line["voxels_changed"], line["seconds_open"]) == (13, 41.5)
    assert line["result"] == job["result"]["risk"]["result"]
    assert (line["model"], line["seed"]) == (MODEL, 7)


def test_promise_6_without_the_clients_word_the_time_since_it_was_served_counts(guarded, job, predicted):
    served = guarded.clients["annotator"].post("/activelearning/random", json={}).json()["id"]
    scan = nib.load(guarded.studies / f"{served}.nii.gz")
    label = nib.Nifti1Image(np.zeros(scan.shape, np.uint8), scan.affine)
    assert save(guarded, "annotator", served, label, result="no key").status_code == 200
    line = guarded.lines("save")[-1]
    assert 0 <= line["seconds_open"] < 60
    assert (line["voxels_changed"], line["result"]) == (None, None)
    guarded.clients["annotator"].delete(f"/datastore/label?id={served}&tag=final")
    assert guarded.lines("remove_label")[-1]["case"] == served


def test_promise_6_a_scoring_is_noted_and_admins_can_read_the_newest(guarded, image):
    request = {"kind": "score", "model": MODEL, "image": image}
    job_id = guarded.clients["annotator"].post("/uncertainty/v1/jobs", json=request).json()["id"]
    guarded.ended(job_id)
    newest = guarded.clients["admin"].get("/uncertainty/v1/audit?last=3").json()
    assert newest[0]["event"] == "score"
    assert newest[0]["job"] == job_id


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_promise_6_the_log_is_its_users_alone(guarded, job):
    for file in (guarded.folder / "audit").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_promise_10_the_same_seed_makes_the_same_map(guarded, job, image, scans):
    """The same scan under another name, so that nothing comes from the cache of results."""
    http = guarded.clients["annotator"]
    with scans[0].open("rb") as file:
        assert http.put("/datastore/image?image=twin", files={"file": file}).status_code == 200
    request = {"kind": "infer", "model": MODEL, "image": "twin", "params": {"seed": 7, "samples": 65}}
    twin = guarded.ended(http.post("/uncertainty/v1/jobs", json=request).json()["id"])
    maps = [each["result"]["risk"]["maps"]["predictive_entropy"]["url"] for each in (job, twin)]
    assert maps[0] != maps[1]
    assert http.get(maps[0]).content == http.get(maps[1]).content
    guarded.clients["admin"].delete("/datastore/image?id=twin")


def test_an_upload_too_large_is_refused_with_and_without_its_length(guarded):
    big = bytes(MAX_UPLOAD_MB * 1_000_000 + 1)
    http = guarded.clients["annotator"]

    def pieces():
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.nii.gz"\r\n\r\n'
        yield head
        for start in range(0, len(big), 1 << 20):
            yield big[start : start + (1 << 20)]

    for body in (
        {"files": {"file": ("big.nii.gz", big)}},
        {"content": pieces(), "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
    ):
        try:
            answer = http.put("/datastore/image", **body)
        except httpx.WriteError:  # it hung up before everything was sent
            continue
        assert answer.status_code == 413, answer.text
        assert "--max-upload-mb" in answer.json()["detail"]
    assert not list(guarded.studies.glob("big*"))


def test_answers_tell_browsers_not_to_store_scans_and_name_no_version(guarded):
    for who, path in [("viewer", "/info/"), ("nobody", "/info/"), ("viewer", "/nowhere")]:
        headers = guarded.clients[who].get(path).headers
        assert headers["Cache-Control"] == "no-store"
        assert "Strict-Transport-Security" in headers
        assert "Access-Control-Allow-Origin" not in headers
        assert not any(character.isdigit() for character in headers.get("Server", ""))


def test_monai_labels_own_client_logs_in_with_the_token_as_password(guarded, image, tmp_path):
    client = MONAILabelClient(guarded.url, tmpdir=str(tmp_path))
    assert client.auth_enabled()
    client.update_auth(client.auth_token("anna", guarded.tokens["annotator"]))
    assert client.auth_valid_token()
    assert MODEL in client.info()["models"]
    assert client.next_sample("random", {})["id"]
    path, params = client.infer(MODEL, image, {})
    assert nib.load(path).shape == nib.load(guarded.studies / f"{image}.nii.gz").shape
    assert params["risk"]["provenance"]["model"] == MODEL
    with pytest.raises(Exception, match="401"):
        client.auth_token("anna", "wrong")


def test_our_slicer_client_works_over_tls_with_a_token(guarded, image, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(guarded.certificate))
    client = Client(guarded.url, token=guarded.tokens["annotator"])
    assert MODEL in client.info().models
    assert client.fetch_image(image, tmp_path).stat().st_size > 0
    with pytest.raises(ServerError, match="access token"):
        Client(guarded.url, token="wrong").info()
    with pytest.raises(ServerError, match="access token"):
        Client(guarded.url).info()


def test_a_token_withdrawn_while_it_runs_no_longer_counts(guarded):
    from uncertaintyseg.tokens import Role, add_token

    file: Path = guarded.folder / "tokens"
    context = ssl.create_default_context(cafile=str(guarded.certificate))
    headers = {"Authorization": f"Bearer {add_token(file, 'guest', Role.viewer)}"}
    assert httpx.get(f"{guarded.url}/info/", headers=headers, verify=context).status_code == 200
    file.write_text(
        "\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("guest")) + "\n"
    )
    assert httpx.get(f"{guarded.url}/info/", headers=headers, verify=context).status_code == 401


def test_without_a_proxy_nobody_says_of_himself_where_he_comes_from(guarded):
    headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": "192.0.2.77", "X-Forwarded-Proto": "http"}
    assert guarded.clients["nobody"].get("/info/", headers=headers).status_code == 401
    assert guarded.lines("login_failed")[-1]["address"] == "127.0.0.1"
