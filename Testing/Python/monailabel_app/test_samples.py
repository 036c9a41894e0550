"""Plausible segmentations of a result, over the wire."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest


@pytest.fixture(scope="module")
def base(server, image) -> dict:
    return server.infer(server.model, image)["result"]


def ask(server, key: str, **body):
    return server.http.post(f"/uncertainty/v1/results/{key}/samples", json=body)


def test_samples_differ_on_the_scans_grid_and_come_by_their_volume(server, base):
    reply = ask(server, base["risk"]["result"], count=4, seed=3)
    assert reply.status_code == 200, reply.text
    samples = reply.json()["samples"]
    totals = [sum(sample["volumes_ml"].values()) for sample in samples]
    assert len(samples) == 4
    assert totals == sorted(totals)
    assert len(set(totals)) > 1
    own = nib.Nifti1Image.from_bytes(gzip.decompress(server.http.get(base["label"]).content))
    voxel_ml = abs(np.linalg.det(own.affine[:3, :3])) / 1000
    for sample in samples:
        volume = nib.Nifti1Image.from_bytes(gzip.decompress(server.http.get(sample["url"]).content))
        assert volume.shape == own.shape
        assert np.allclose(volume.affine, own.affine)
        for label in base["labels"]:
            counted = (np.asarray(volume.dataobj) == label["id"]).sum() * voxel_ml
            assert sample["volumes_ml"][label["name"]] == pytest.approx(counted, abs=1e-3)
    low, high = base["risk"]["structures"][0]["volume_ml_95"]
    name = base["labels"][0]["name"]
    assert 0.5 * low < np.mean([sample["volumes_ml"][name] for sample in samples]) < 2 * high


def test_the_same_seed_draws_the_same_and_another_one_others(server, base):
    key = base["risk"]["result"]
    first = ask(server, key, count=2, seed=1).json()
    assert ask(server, key, count=2, seed=1).json() == first
    assert ask(server, key, count=2, seed=2).json()["samples"][0]["volumes_ml"] != first["samples"][0]["volumes_ml"]


def test_a_head_without_shared_noise_says_why_it_draws_none(server, cached):
    key = server.infer(server.baseline, cached)["result"]["risk"]["result"]
    reply = ask(server, key)
    assert reply.status_code == 400
    assert "no whole segmentations can be drawn: the deterministic head draws no whole shapes" in reply.json()["detail"]


def test_of_a_corrected_result_the_models_own_is_named(server, base):
    key = base["risk"]["result"]
    after = server.http.post(f"/uncertainty/v1/results/{key}/condition", json={"background": [[0, 0, 0]]}).json()
    reply = ask(server, after["risk"]["result"])
    assert reply.status_code == 400
    assert key in reply.json()["detail"]


@pytest.mark.parametrize(("body", "status"), [({"count": 0}, 422), ({"count": 33}, 422), ({"seed": -1}, 422)])
def test_wrong_numbers_are_refused(server, base, body, status):
    assert ask(server, base["risk"]["result"], **body).status_code == status


@pytest.mark.parametrize("name", ["0-4-99", "x", "0-4", "..%2F..%2Flabel", "0-4-0%2F..%2F..%2Freport", "-1-4-0"])
def test_no_other_name_reaches_a_file(server, base, name):
    reply = server.http.get(f"/uncertainty/v1/results/{base['risk']['result']}/samples/{name}.nii.gz")
    assert reply.status_code == 404


@pytest.mark.parametrize("key", ["0" * 64, "no-key"])
def test_samples_of_no_result_are_not_found(server, key):
    assert ask(server, key).status_code == 404
    assert server.http.get(f"/uncertainty/v1/results/{key}/samples/0-4-0.nii.gz").status_code == 404
