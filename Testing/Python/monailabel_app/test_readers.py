"""Several people's labels of one case, compared; and versions of one label."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.monailabel_app.test_ownership import label_of, other, save, versions  # noqa: F401 - a fixture
from uncertaintyseg.data.geometry import voxel_volume_ml


@pytest.fixture
def read_twice(guarded, image, other):  # noqa: F811
    """A case with a final label of each of two annotators, which share no voxel."""
    annotator = guarded.clients["annotator"]
    assert save(annotator, image, label_of(guarded, image, 1)).status_code == 200
    assert save(other, image, label_of(guarded, image, 2)).status_code == 200
    return annotator


def readers(client, image: str) -> dict:
    return client.get(f"/uncertainty/v1/cases/{image}/readers").json()


def test_two_readers_are_compared_as_a_map_and_as_places(guarded, image, read_twice):
    found = readers(read_twice, image)
    assert {row["reader"] for row in found["readers"]} >= {"annotator-person", "other-person"}
    info = found["maps"]["reader_disagreement"]
    assert (info["source"], info["range"]) == ("readers", [0.0, 0.5])
    answer = read_twice.get(info["url"])
    values = nib.Nifti1Image.from_bytes(gzip.decompress(answer.content))
    affine = nib.load(guarded.studies / f"{image}.nii.gz").affine
    np.testing.assert_allclose(values.affine, affine, atol=1e-4)
    drawn = np.zeros(values.shape)
    drawn[2:6, 3:8, 4:9] = 0.5
    if len(found["readers"]) == 2:
        np.testing.assert_allclose(values.get_fdata(), drawn)
        assert found["differing_ml"] == pytest.approx(100 * voxel_volume_ml(affine))
    assert found["regions"][0]["bounding_box"] == [[2, 3, 4], [5, 7, 8]]
    assert read_twice.get(info["url"], headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_each_reader_counts_once_with_the_newest_label_and_a_restored_one_does_not(guarded, image, read_twice):
    reviewer = guarded.clients["reviewer"]
    first = next(v for v in versions(read_twice, image) if v["made_by"] == "annotator-person")
    assert reviewer.post(f"/uncertainty/v1/cases/{image}/versions/{first['id']}/restore").status_code == 200
    rows = {row["reader"]: row["version"] for row in readers(read_twice, image)["readers"]}
    assert "reviewer-person" not in rows
    newest = max(v["id"] for v in versions(read_twice, image) if v["made_by"] == "annotator-person")
    assert rows["annotator-person"] == newest


def test_with_one_reader_it_says_why_not_and_other_versions_make_no_map(guarded, read_twice, image):
    fresh = next(i for i in guarded.clients["viewer"].get("/uncertainty/v1/cases").json()["cases"] if i["id"] != image)
    found = readers(read_twice, fresh["id"])
    assert (found["maps"], found["regions"]) == ({}, [])
    assert found["reason"].startswith("readers are compared where two or more")
    route, number = f"/uncertainty/v1/cases/{image}/readers", versions(read_twice, image)[0]["id"]
    for numbers, status in ((f"{number}", 400), ("1-x", 400), (f"{number}-999999", 404), (f"{number}-{number}", 400)):
        assert read_twice.get(f"{route}/{numbers}/reader_disagreement.nii.gz").status_code == status
    many = read_twice.get(f"{route}/{'-'.join(map(str, range(1, 300)))}/reader_disagreement.nii.gz")
    assert (many.status_code, many.json()["detail"]) == (400, "versions: name each of them once, and 256 at most")
    assert read_twice.get("/uncertainty/v1/cases/nobody/readers").status_code == 404


def test_a_comparison_of_versions_says_where_and_how_much(guarded, image, read_twice, other):  # noqa: F811
    mine, theirs = [v for v in versions(read_twice, image) if v["source"] == "saved"][-2:]
    route = f"/uncertainty/v1/cases/{image}/versions"
    found = read_twice.get(f"{route}/{mine['id']}/compare?to={theirs['id']}").json()
    ml = 100 * voxel_volume_ml(nib.load(guarded.studies / f"{image}.nii.gz").affine)
    assert [row["ml"] for row in found["structures"]] == [[pytest.approx(ml), 0.0], [0.0, pytest.approx(ml)]]
    [place] = found["regions"]
    assert (place["kind"], place["bounding_box"]) == ("extra", [[2, 3, 4], [5, 7, 8]])
    assert place["volume_ml"] == pytest.approx(ml, abs=1e-4)
    # others' versions are a reviewer's to restore
    assert read_twice.post(f"{route}/{theirs['id']}/restore").status_code == 403
    assert other.post(f"{route}/{theirs['id']}/restore").status_code == 200


def test_without_a_log_in_readers_are_what_they_call_themselves(server, image, saved_label):
    for name in ("anna", "bob"):
        assert server.put_label(image, saved_label, client_id=name).status_code == 200
    found = readers(server.http, image)
    assert {row["reader"] for row in found["readers"]} >= {"anna", "bob"}
