"""A scan that cannot be used, by every road into the server: one message that names it, and nothing else changes."""

from __future__ import annotations

import gzip
import tempfile

import nibabel as nib
import numpy as np
import pytest

AFFINE, SHAPE = np.diag([3.0, 3.0, 6.0, 1.0]), (16, 16, 8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 50, shape or SHAPE).astype(np.float32)


def nifti(values: np.ndarray) -> bytes:
    return gzip.compress(nib.Nifti1Image(values, AFFINE).to_bytes())


def with_nan() -> bytes:
    values = noise()
    values[2, 3, 4] = np.nan
    return nifti(values)


def singular() -> bytes:
    data = bytearray(nib.Nifti1Image(noise(), AFFINE).to_bytes())
    data[296:312] = bytes(16)  # the second row of the sform
    return gzip.compress(bytes(data))


BAD = {
    "nan": (with_nan(), "1 voxels are NaN or infinite"),
    "constant": (nifti(np.full(SHAPE, 7.0, np.float32)), "every voxel is 7"),
    "truncated": (nifti(noise())[:3000], "not a readable NIfTI file"),
    "text": (b"patient A, see attachment", "not a readable NIfTI file"),
    "nothing": (b"", "not a readable NIfTI file"),
    "four_dimensions": (nifti(noise(*SHAPE, 3)), "expected one 3D volume with one channel"),
    "singular": (singular(), "its header gives no rectangular grid"),
}


def refused(answer, name: str, message: str) -> None:
    """The client knows the file by the name it gave; where the server put it for a moment is not its affair."""
    assert answer.status_code == 400, answer.text
    detail = answer.json()["detail"]
    assert detail.startswith(f"{name}: ")
    assert message in detail
    assert tempfile.gettempdir() not in detail


@pytest.mark.parametrize("kind", BAD)
def test_an_uploaded_scan_is_refused_and_not_kept(server, kind):
    data, message = BAD[kind]
    before = server.images()
    refused(server.http.put("/datastore/image", files={"file": ("scan.nii.gz", data)}), "scan.nii.gz", message)
    assert server.images() == before
    assert not (server.studies / "scan.nii.gz").exists()


@pytest.mark.parametrize("kind", BAD)
def test_an_inference_of_an_uploaded_scan_is_refused(server, kind):
    data, message = BAD[kind]
    answer = server.http.post(f"/infer/{server.baseline}", files={"file": ("scan.nii.gz", data)})
    refused(answer, "scan.nii.gz", message)


@pytest.fixture(scope="module")
def bad_images(server) -> list[str]:
    """All in the studies folder at once, as a user's copy leaves them; those that look like scans at first sight."""
    files = [server.studies / f"{kind}.nii.gz" for kind in BAD]
    for path in files:
        path.write_bytes(BAD[path.name.removesuffix(".nii.gz")][0])
    served = [kind for kind in BAD if kind != "nothing"]
    server.wait_until(lambda: set(served) <= set(server.images()))
    assert "nothing.nii.gz" in server.http.get("/uncertainty/v1/cases").json()["skipped"]
    yield served
    files[list(BAD).index("nothing")].unlink()
    for image in served:
        assert server.http.delete(f"/datastore/image?id={image}").status_code == 200


def test_a_job_on_a_stored_one_fails_with_the_files_name(server, bad_images):
    for image in bad_images:
        state = server.infer(server.baseline, image)
        assert state["state"] == "failed"
        assert f"{image}.nii.gz: " in state["error"]
        assert BAD[image][1] in state["error"]


def test_a_score_job_scores_the_rest_and_names_each(server, bad_images):
    state = server.ended(server.job(kind="score", model=server.baseline))
    assert state["state"] == "done"
    assert sorted(state["result"]["failed"]) == sorted(bad_images)
    assert all(BAD[image][1] in error for image, error in state["result"]["failed"].items())
    assert sorted(state["result"]["scores"]) == sorted(set(server.images()) - set(bad_images))


def test_the_next_case_is_one_that_could_be_scored(server, bad_images):
    server.ended(server.job(kind="score", model=server.baseline))
    answer = server.http.post("/activelearning/predictive_entropy", json={"model": server.baseline}).json()
    assert answer["id"] not in bad_images
    assert answer["reason"].endswith(f"{len(bad_images)} more have no score yet")


def test_a_label_for_one_is_refused(server, bad_images, saved_label):
    answer = server.put_label("nan", saved_label)
    assert answer.status_code == 400
    assert "nan.nii.gz" in answer.json()["detail"]
    assert not (server.studies / "labels" / "final" / "nan.nii.gz").exists()


def test_the_server_goes_on(server, bad_images, image):
    assert server.infer(server.baseline, image)["state"] == "done"
    assert server.http.get("/info/").status_code == 200
