"""What somebody made is theirs: others cannot cancel, take or write over it, and nothing is lost when they try."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import httpx
import nibabel as nib
import numpy as np
import pytest

from monailabel_app.api.roles import RULES
from Testing.Python.monailabel_app.guarded import Guarded
from Testing.Python.servers import TASK, poll
from uncertaintyseg.tokens import Role, add_token

DECIDING = ("purpose", "approved_by")
MODEL = f"{TASK}_deterministic"


@pytest.fixture(scope="module")
def other(guarded) -> Iterator[httpx.Client]:
    """A second annotator."""
    token = add_token(guarded.folder / "tokens", "other-person", Role.annotator)
    client = guarded.clients["annotator"]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=guarded.url, verify=str(guarded.certificate), timeout=120, headers=headers) as found:
        assert client.base_url == found.base_url
        yield found


@pytest.fixture
def annotator(guarded) -> httpx.Client:
    return guarded.clients["annotator"]


def label_of(guarded: Guarded, image: str, value: int) -> bytes:
    scan = nib.load(guarded.studies / f"{image}.nii.gz")
    voxels = np.zeros(scan.shape, np.uint8)
    voxels[2:6, 3:8, 4:9] = value
    return gzip.compress(nib.Nifti1Image(voxels, scan.affine).to_bytes())


def save(client: httpx.Client, image: str, data: bytes, tag: str = "final", **params) -> httpx.Response:
    files = {"label": ("label.nii.gz", data)}
    return client.put(f"/datastore/label?image={image}&tag={tag}", data={"params": json.dumps(params)}, files=files)


def versions(client: httpx.Client, image: str) -> list[dict]:
    return client.get(f"/uncertainty/v1/cases/{image}/versions").json()["versions"]


def end_of(client: httpx.Client, job: str) -> dict:
    def ended() -> dict | None:
        state = client.get(f"/uncertainty/v1/jobs/{job}").json()
        return state if state["state"] in ("done", "failed", "cancelled") else None

    return poll(ended)


@pytest.fixture
def leased(annotator, image) -> Iterator[str]:
    """A case that the first annotator has."""
    assert annotator.post(f"/uncertainty/v1/cases/{image}/lease", json={"minutes": 5}).status_code == 200
    yield image
    annotator.delete(f"/uncertainty/v1/cases/{image}/lease")


def test_a_save_over_anothers_lease_is_kept_as_a_version_and_does_not_count(guarded, annotator, other, leased):
    before = versions(annotator, leased)
    reply = save(other, leased, label_of(guarded, leased, 2))
    assert reply.status_code == 409
    [kept] = [version for version in versions(annotator, leased) if version["id"] not in {v["id"] for v in before}]
    assert f"version {kept['id']} " in reply.json()["detail"]
    assert "annotator-person" in reply.json()["detail"]
    assert (kept["made_by"], kept["counts"]) == ("other-person", False)
    assert guarded.lines("save_aside")[-1]["who"] == "other-person"
    held = annotator.get("/uncertainty/v1/cases").json()["cases"]
    assert next(row for row in held if row["id"] == leased)["lease"]["mine"]


def test_the_holder_saves_restores_and_the_lease_ends(guarded, annotator, other, leased):
    assert save(annotator, leased, label_of(guarded, leased, 1), seconds_open=12.5).status_code == 200
    assert save(other, leased, label_of(guarded, leased, 2)).status_code == 200  # the case is free again
    first, second = [version for version in versions(annotator, leased) if version["source"] == "saved"][-2:]
    assert (first["made_by"], first["seconds"], second["counts"]) == ("annotator-person", 12.5, True)
    route = f"/uncertainty/v1/cases/{leased}/versions/{first['id']}"
    compared = annotator.get(f"{route}/compare").json()
    assert compared["voxels_changed"] == 4 * 5 * 5
    assert [row["dice"] for row in compared["structures"]] == [0.0, 0.0]
    assert [row["voxels"] for row in compared["structures"]] == [[100, 0], [0, 100]]
    restored = annotator.post(f"{route}/restore").json()
    assert (restored["source"], restored["sha256"], restored["counts"]) == (
        f"restored {first['id']}", first["sha256"], True,
    )  # fmt: skip
    assert (
        annotator.get(f"{route}/label").content == annotator.get(f"/datastore/label?label={leased}&tag=final").content
    )
    assert guarded.lines("restore_label")[-1]["of"] == first["id"]


def test_nobody_restores_while_another_has_the_case(annotator, leased, guarded):
    save(annotator, leased, label_of(guarded, leased, 1))
    annotator.post(f"/uncertainty/v1/cases/{leased}/lease", json={"minutes": 5})
    number = versions(annotator, leased)[0]["id"]
    reply = guarded.clients["reviewer"].post(f"/uncertainty/v1/cases/{leased}/versions/{number}/restore")
    assert (reply.status_code, "annotator-person" in reply.json()["detail"]) == (409, True)


def test_a_lease_is_ended_by_its_holder_or_an_admin(guarded, other, leased):
    assert other.delete(f"/uncertainty/v1/cases/{leased}/lease").status_code == 409
    assert other.post(f"/uncertainty/v1/cases/{leased}/lease", json={"minutes": 5}).status_code == 409
    assert guarded.clients["admin"].delete(f"/uncertainty/v1/cases/{leased}/lease").status_code == 204
    assert guarded.lines("give_back")[-1]["who"] == "admin-person"


def test_another_persons_draft_is_not_written_over(guarded, annotator, other, image):
    assert save(annotator, image, label_of(guarded, image, 1), "draft").status_code == 200
    assert save(other, image, label_of(guarded, image, 2), "draft").status_code == 409
    assert save(annotator, image, label_of(guarded, image, 2), "draft").status_code == 200


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("annotator", ()),
        ("trainer", ("purpose", "approved_by")),
        ("admin", ("purpose", "approved_by", "lease", "scores")),
    ],
)
@pytest.mark.parametrize("field", ["purpose", "approved_by", "lease", "skipped", "scores", "strategy"])
def test_what_decides_and_what_the_server_keeps_is_not_written_through_info(guarded, image, role, allowed, field):
    if role == "admin" and field not in allowed:
        pytest.skip("an admin may mend any of them")
    before = guarded.clients["admin"].get(f"/datastore/image/info?image={image}").json()
    info = {field: before.get(field)}
    reply = guarded.clients[role].put(f"/datastore/image/info?image={image}", data={"info": json.dumps(info)})
    assert reply.status_code == (200 if field in allowed else 403), reply.text
    if field not in allowed:
        assert guarded.clients["admin"].get(f"/datastore/image/info?image={image}").json() == before
        assert save(guarded.clients[role], image, label_of(guarded, image, 1), **info).status_code == 403


def test_jobs_are_cancelled_by_who_asked_for_them_or_an_admin(guarded, annotator, other, image):
    trainer, admin = guarded.clients["trainer"], guarded.clients["admin"]
    asked = {"kind": "batch", "model": MODEL, "images": "all", "params": {"samples": 4096, "seed": 7}}
    job = trainer.post("/uncertainty/v1/jobs", json=asked).json()["id"]
    for client in (annotator, other):
        reply = client.delete(f"/uncertainty/v1/jobs/{job}")
        assert (reply.status_code, "trainer-person" in reply.json()["detail"]) in ((403, True), (204, False))
    assert trainer.delete(f"/uncertainty/v1/jobs/{job}").status_code == 204
    second = trainer.post("/uncertainty/v1/jobs", json={**asked, "params": {"seed": 8}}).json()["id"]
    assert admin.delete(f"/uncertainty/v1/jobs/{second}").status_code == 204
    ended = poll(
        lambda: (s := admin.get(f"/uncertainty/v1/jobs/{second}").json())["state"] in ("cancelled", "done") and s
    )
    if ended["state"] == "cancelled":
        assert guarded.lines("cancel")[-1]["who"] == "admin-person"


def test_a_job_that_two_people_asked_for_goes_on_when_one_cancels(guarded, annotator, other, image):
    asked = {"kind": "infer", "model": MODEL, "image": image, "params": {"seed": 99}}
    first, second = (client.post("/uncertainty/v1/jobs", json=asked).json()["id"] for client in (annotator, other))
    reply = annotator.delete(f"/uncertainty/v1/jobs/{first}")
    assert reply.status_code == 204
    ended = poll(
        lambda: (s := other.get(f"/uncertainty/v1/jobs/{second}").json())["state"] in ("cancelled", "done") and s
    )
    assert ended["state"] == "done"


def test_a_backup_is_an_admins(guarded, annotator):
    assert annotator.post("/uncertainty/v1/backup").status_code == 403
    assert guarded.clients["admin"].post("/uncertainty/v1/backup").json()["file"] == "backup.sqlite"


def test_an_uploaded_session_is_its_owners_and_to_others_as_if_it_were_not_there(guarded, annotator, other, image):
    scan = (guarded.studies / f"{image}.nii.gz").read_bytes()
    session = annotator.put("/session/", files={"files": ("scan.nii.gz", scan)}).json()["session_id"]
    for ask in (
        lambda client: client.get(f"/session/{session}?image=true"),
        lambda client: client.delete(f"/session/{session}"),
        lambda client: client.post(f"/infer/{MODEL}?session_id={session}&output=json"),
    ):
        assert ask(other).status_code == 404
    assert annotator.get(f"/session/{session}?image=true").status_code == 200
    assert annotator.post(f"/infer/{MODEL}?session_id={session}&output=json").status_code == 200
    assert annotator.delete(f"/session/{session}").status_code == 200
    assert annotator.get(f"/session/{session}").status_code == 404
    assert guarded.lines("remove_session")[-1]["who"] == "annotator-person"


def test_nobody_removes_or_rewrites_the_label_of_a_case_that_another_has(guarded, annotator, other, leased):
    assert save(annotator, leased, label_of(guarded, leased, 1)).status_code == 200
    annotator.post(f"/uncertainty/v1/cases/{leased}/lease", json={"minutes": 5})
    info = {"data": {"info": '{"model": "another"}'}}
    assert other.delete(f"/datastore/label?id={leased}&tag=final").status_code == 409
    assert other.put(f"/datastore/label/info?label={leased}&tag=final", **info).status_code == 409
    assert (
        other.put(f"/datastore/label/info?label={leased}&tag=final", data={"info": '{"dicom": "x"}'}).status_code == 403
    )
    assert annotator.delete(f"/datastore/label?id={leased}&tag=final").status_code == 200


def test_who_was_served_what_is_noted(guarded, other):
    sample = other.post("/activelearning/random", json={"lease_minutes": 0}).json()
    noted = guarded.lines("serve")[-1]
    assert (noted["who"], noted["cases"], noted["strategy"]) == ("other-person", [sample["id"]], "random")


def test_a_batch_keeps_its_label_aside_where_a_person_has_one(guarded, annotator, image):
    assert save(annotator, image, label_of(guarded, image, 1), "mine").status_code == 200
    asked = {"kind": "batch", "model": MODEL, "images": "all", "params": {"label_tag": "mine"}}
    job = guarded.clients["trainer"].post("/uncertainty/v1/jobs", json=asked).json()["id"]
    assert end_of(guarded.clients["trainer"], job)["state"] == "done"
    [drawn, batch] = [version for version in versions(annotator, image) if version["tag"] == "mine"]
    assert (drawn["made_by"], drawn["counts"], batch["counts"]) == ("annotator-person", True, False)


WHOSE = {
    "adds, or asks for what is nobody's": (
        "POST /infer/wsi/{model}",
        "POST /infer/wsi_v2/{model}",
        "POST /infer/{model}",
        "POST /activelearning/{strategy}",
        "POST /scoring/",
        "POST /scoring/{method}",
        "PUT /datastore/",
        "PUT /datastore/image",
        "PUT /session/",
        "POST /proxy/dicom/{path:path}",
        "POST /uncertainty/v1/check",
        "POST /uncertainty/v1/match",
        "POST /uncertainty/v1/jobs",
        "POST /uncertainty/v1/results/{key}/condition",
        "POST /uncertainty/v1/results/{key}/review",
        "POST /uncertainty/v1/results/{key}/samples",
        "POST /uncertainty/v1/results/{key}/maps/{name}/dicom",
    ),
    "everybody's, but for the fields that are not": ("PUT /datastore/image/info",),
    "who asked for the job": ("DELETE /scoring/", "DELETE /uncertainty/v1/jobs/{job_id}"),
    "who has the case": (
        "PUT /datastore/label", "PUT /datastore/label/info", "PUT /datastore/updatelabelinfo",
        "DELETE /datastore/label", "POST /uncertainty/v1/cases/{image}/lease",
        "DELETE /uncertainty/v1/cases/{image}/lease",
        "POST /uncertainty/v1/cases/{image}/versions/{number}/restore",
    ),
    "who uploaded it": ("GET /session/{session_id}", "DELETE /session/{session_id}"),
}  # fmt: skip
"""Of every route of an annotator that changes something, or shows what is one person's."""


def test_whose_the_thing_is_that_a_route_changes_is_said_of_every_route():
    rows = {f"{rule.method} {rule.path}" for rule in RULES if rule.role is Role.annotator}
    assert sorted(row for rows_of_one in WHOSE.values() for row in rows_of_one) == sorted(rows)


@pytest.mark.parametrize(
    "row", [*WHOSE["who asked for the job"], *WHOSE["who has the case"], *WHOSE["who uploaded it"]]
)
def test_what_is_somebodys_is_refused_to_others_and_stays_as_it_was(guarded, annotator, other, leased, row):
    assert save(annotator, leased, label_of(guarded, leased, 1)).status_code == 200
    annotator.post(f"/uncertainty/v1/cases/{leased}/lease", json={"minutes": 5})
    scan = (guarded.studies / f"{leased}.nii.gz").read_bytes()
    session = annotator.put("/session/", files={"files": ("scan.nii.gz", scan)}).json()["session_id"]
    asked = {"kind": "score", "model": MODEL, "params": {"seed": 4711, "samples": 4096}}
    job = annotator.post("/uncertainty/v1/jobs", json=asked).json()["id"]
    number = versions(annotator, leased)[-1]["id"]
    known = {"job_id": job, "image": leased, "number": str(number), "session_id": session}
    method, path = row.split()
    for name, value in known.items():
        path = path.replace(f"{{{name}}}", value)
    fields = {"data": {"info": "{}", "params": "{}"}} if method == "PUT" else {}
    if row == "PUT /datastore/label":
        fields["files"] = {"label": ("label.nii.gz", label_of(guarded, leased, 2))}
    if path.endswith("/lease") and method == "POST":
        fields = {"json": {"minutes": 5}}
    query = {"id": leased, "image": leased, "label": leased, "tag": "final"} if path.startswith("/datastore") else {}
    before = annotator.get(f"/datastore/label/info?label={leased}&tag=final").json()
    reply = other.request(method, path, params=query, **fields)
    if row in WHOSE["who asked for the job"]:  # it may be over already
        assert end_of(annotator, job)["state"] == "done"
    else:
        assert reply.status_code in (403, 404, 409), reply.text
    assert annotator.get(f"/datastore/label/info?label={leased}&tag=final").json() == before
    annotator.delete(f"/session/{session}")
