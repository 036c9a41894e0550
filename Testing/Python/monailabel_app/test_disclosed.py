"""No answer to somebody who logs in tells where the server keeps its files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from monailabel_app.api.roles import RULES
from Testing.Python.monailabel_app.guarded import Guarded
from Testing.Python.servers import ROOT
from uncertaintyseg.tokens import Role

MODEL = "tiny_low_rank"


@pytest.fixture(scope="module")
def known(guarded) -> dict[str, str]:
    """A thing of each kind that a route names, all of them on the server."""
    http = guarded.clients["annotator"]
    image = min(path.name.removesuffix(".nii.gz") for path in guarded.studies.glob("*.nii.gz"))
    job = http.post("/uncertainty/v1/jobs", json={"kind": "infer", "model": MODEL, "image": image}).json()["id"]
    key = guarded.ended(job)["result"]["risk"]["result"]
    label = http.get(f"/uncertainty/v1/results/{key}/label.nii.gz").content
    answer = http.put(f"/datastore/label?image={image}&tag=final", files={"label": ("a.nii.gz", label)})
    assert answer.status_code == 200, answer.text
    version = http.get(f"/uncertainty/v1/cases/{image}/versions").json()["versions"][-1]["id"]
    scan = (guarded.studies / f"{image}.nii.gz").read_bytes()
    session = http.put("/session/", files={"files": ("a.nii.gz", scan)}).json()
    assert not told(guarded, json.dumps(session))
    return {
        "image": image, "label": image, "id": image, "tag": "final", "model": MODEL, "key": key, "job_id": job,
        "number": str(version), "numbers": str(version), "session_id": session["session_id"], "strategy": "random",
        "method": "predictive_entropy",
    }  # fmt: skip


def told(guarded: Guarded, text: str) -> list[str]:
    """Which of the server's folders a text names."""
    places = (guarded.folder, tempfile.gettempdir(), Path.home(), ROOT)
    return [str(place) for place in places if str(place) in text and str(place) != "/"]


def address(path: str, known: dict[str, str]) -> str:
    names = {**known, "name": known["model"] if "/models" in path else "predictive_entropy", "path:path": "nothing"}
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, path
    return path


@pytest.mark.parametrize("rule", [r for r in RULES if r.method == "GET"], ids=lambda r: r.path)
def test_no_get_route_names_a_folder_of_the_server(guarded, known, rule):
    who = "viewer" if (rule.role or Role.viewer) <= Role.viewer else rule.role.name
    if who == "admin":
        pytest.skip("whoever reads the server's log and audit log knows the server")
    url = address(rule.path, known)
    queries = ["", "&output=all", "&output=train", "&all=true"]
    for query in queries:
        asked = {name: known[name] for name in ("image", "label", "tag", "model")}
        answer = guarded.clients[who].get(url + "?" + "&".join(f"{k}={v}" for k, v in asked.items()) + query)
        assert answer.status_code < 500, answer.text
        if answer.headers["content-type"].startswith(("application/json", "text")):
            assert not told(guarded, answer.text), answer.text


REFUSED = (
    ("POST", "/infer/{model}?image={image}", {"data": {"params": '{"roi": [[5, 2], [0, 3], [0, 3]]}'}}),
    ("POST", "/infer/{model}?image=broken", {}),
    ("POST", "/uncertainty/v1/check", {"json": {"model": MODEL, "image": "broken"}}),
    ("PUT", "/datastore/image", {"files": {"file": ("new.nii.gz", b"nothing")}}),
    ("PUT", "/datastore/label?image={image}", {"files": {"label": ("new.nii.gz", b"nothing")}}),
    ("PUT", "/session/", {"files": {"files": ("new.nii.gz", b"nothing")}}),
    ("POST", "/train/{model}", {"json": {}}),
    ("POST", "/uncertainty/v1/jobs", {"json": {"kind": "calibrate", "model": MODEL}}),
    ("POST", "/activelearning/random", {"json": {}}),
    ("POST", "/scoring/predictive_entropy", {"json": {"model": MODEL}}),
)


@pytest.mark.parametrize(("method", "path", "body"), REFUSED)
def test_no_refusal_and_no_next_case_does_either(guarded, known, method, path, body):
    broken = guarded.studies / "broken.nii.gz"
    broken.write_bytes(b"not a scan")
    try:
        answer = guarded.clients["trainer"].request(method, address(path, known), **body)
        assert answer.status_code < 500, answer.text
        assert not told(guarded, answer.text), answer.text
    finally:
        broken.unlink()
        for path in guarded.studies.glob("*.nii.gz"):  # what was served next was lent
            image = path.name.removesuffix(".nii.gz")
            guarded.clients["admin"].delete(f"/uncertainty/v1/cases/{image}/lease")
