"""What was looked at before a label was saved: checked, kept with the label's version, answered and audited."""

from __future__ import annotations

import json

import httpx
import nibabel as nib
import numpy as np
import pytest

LOOKED_AT = {"seconds": 61.5, "regions": 7, "seen": 4, "not_looked_at": 3, "accepted": 2, "dismissed": 1}


def save(server, image: str, **params) -> httpx.Response:
    scan = nib.load(server.studies / f"{image}.nii.gz")
    label = nib.Nifti1Image(np.zeros(scan.shape, np.uint8), scan.affine)
    files = {"label": ("label.nii", label.to_bytes())}
    data = {"params": json.dumps(params)}
    return server.http.put(f"/datastore/label?image={image}&tag=final", data=data, files=files)


def versions(server, image: str) -> list[dict]:
    return server.http.get(f"/uncertainty/v1/cases/{image}/versions").json()["versions"]


def row(server, image: str) -> dict:
    return next(row for row in server.http.get("/uncertainty/v1/cases").json()["cases"] if row["id"] == image)


def test_it_is_kept_with_the_version_and_answered_with_the_case(server, image):
    assert save(server, image, looked_at=LOOKED_AT, seconds_open=80.0).status_code == 200
    assert versions(server, image)[-1]["looked_at"] == LOOKED_AT
    assert row(server, image)["looked_at"] == LOOKED_AT
    assert save(server, image).status_code == 200
    before, after = versions(server, image)[-2:]
    assert (before["looked_at"], after["looked_at"]) == (LOOKED_AT, None)
    assert row(server, image)["looked_at"] is None  # it is of the label that counts
    back = server.http.post(f"/uncertainty/v1/cases/{image}/versions/{before['id']}/restore").json()
    assert back["looked_at"] == LOOKED_AT
    server.http.delete(f"/datastore/label?id={image}&tag=final")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({**LOOKED_AT, "seen": 5}, "seen and not_looked_at together are not the regions"),
        ({**LOOKED_AT, "accepted": 7}, "more regions were accepted and dismissed than there are"),
        ({**LOOKED_AT, "seconds": -1}, "params.looked_at.seconds"),
        ({**LOOKED_AT, "regions": "7"}, "params.looked_at.regions"),
        ({**LOOKED_AT, "seen": True}, "params.looked_at.seen"),
        ({**LOOKED_AT, "mood": "good"}, "params.looked_at.mood"),
        ({"seconds": 3.0}, "params.looked_at.regions"),
        ([7, 4], "params.looked_at"),
    ],
)
def test_counts_that_cannot_be_are_refused_and_nothing_is_kept(server, image, wrong, named):
    before = versions(server, image)
    reply = save(server, image, looked_at=wrong)
    assert (reply.status_code, named in reply.json()["detail"]) == (400, True), reply.text
    assert versions(server, image) == before
