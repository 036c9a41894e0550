"""A label of which a person has seen a part: kept with its boxes, exported with them, and learnt from there alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator

import httpx
import nibabel as nib
import numpy as np
import pytest

from uncertaintyseg import wire

BOX = [[2, 3, 1], [9, 8, 6]]


@pytest.fixture(scope="module")
def labelled(tiny_server) -> Iterator[list[str]]:
    """Five of the six images, those that train first."""
    images = sorted(
        tiny_server.images()[:5], key=lambda image: hashlib.sha256(image.encode()).hexdigest(), reverse=True
    )
    for image in images:
        assert save(tiny_server, image, right(tiny_server, image)).status_code == 200
    yield images
    for image in images:
        tiny_server.remove_label(image)


def right(server, image: str) -> np.ndarray:
    return np.asarray(nib.load(server.folder / "labels" / f"{image}.nii.gz").dataobj).astype(np.uint8)


def save(server, image: str, label: np.ndarray, **params) -> httpx.Response:
    affine = nib.load(server.studies / f"{image}.nii.gz").affine
    files = {"label": ("label.nii", nib.Nifti1Image(label, affine).to_bytes())}
    data = {"params": json.dumps({"model": server.model, **params})}
    return server.http.put(f"/datastore/label?image={image}&tag=final", data=data, files=files)


def newest(server, image: str) -> dict:
    return server.http.get(f"/uncertainty/v1/cases/{image}/versions").json()["versions"][-1]


def scribbled(server, image: str, seed: int) -> np.ndarray:
    """The right label in the box, and anything elsewhere."""
    label = right(server, image)
    drawn = np.random.default_rng(seed).integers(0, 2, label.shape).astype(np.uint8)
    inside = inside_box(label.shape)
    return np.where(inside, label, drawn)


def inside_box(shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[2:10, 3:9, 1:7] = True
    return inside


def trained(server) -> wire.TrainResult:
    """Train from the same weights as ever, which are in use again afterwards."""
    first = f"/uncertainty/v1/models/{server.baseline}/restore"
    server.http.post(first, json={"version": 1})  # another test may have trained it; 404 where none has
    params = {"scope": "whole", "epochs": 1, "seed": 3}
    job = server.ended(server.job(kind="train", model=server.baseline, params=params))
    assert job["state"] == "done", job
    result = wire.TrainResult.model_validate(job["result"])
    if result.published:
        server.http.post(first, json={"version": 1})
    return result


def test_a_training_learns_from_the_corrected_region_whatever_the_label_holds_elsewhere(tiny_server, labelled):
    image = labelled[0]
    found = []
    for seed in (1, 2):
        assert save(tiny_server, image, scribbled(tiny_server, image, seed), verified=[BOX]).status_code == 200
        result = trained(tiny_server)
        assert result.published, result.reason
        found.append(result.record)
    assert found[0].after == found[1].after != found[0].before
    assert found[0].checksum == found[1].checksum
    assert save(tiny_server, image, scribbled(tiny_server, image, 2)).status_code == 200
    assert trained(tiny_server).record.after != found[0].after  # all of it counts
    seen = {"status": "approved", "level": "", "comment": ""}
    assert save(tiny_server, image, scribbled(tiny_server, image, 1), verified=[BOX]).status_code == 200
    about = {"label": image, "tag": "final"}
    reply = tiny_server.http.put(
        "/datastore/label/info", params=about, data={"info": json.dumps({"segmentationMeta": seen})}
    )
    assert reply.status_code == 200, reply.text
    assert trained(tiny_server).record.after != found[0].after  # a reviewer has approved all of it


def test_the_boxes_are_kept_with_the_version_restored_with_it_and_exported(tiny_server, labelled):
    image = labelled[0]
    assert (
        save(tiny_server, image, right(tiny_server, image), verified=[BOX, [[0, 0, 0], [0, 0, 0]]]).status_code == 200
    )
    version = newest(tiny_server, image)
    assert version["verified"] == [BOX, [[0, 0, 0], [0, 0, 0]]]
    assert save(tiny_server, image, right(tiny_server, image)).status_code == 200
    assert newest(tiny_server, image)["verified"] is None
    tiny_server.http.post(f"/uncertainty/v1/cases/{image}/versions/{version['id']}/restore")
    assert newest(tiny_server, image)["verified"] == version["verified"]

    with zipfile.ZipFile(io.BytesIO(tiny_server.http.get("/datastore/dataset").content)) as archive:
        masks = [name for name in archive.namelist() if name.startswith("verified/")]
        assert masks == [f"verified/{image}.nii.gz"]
        mask = nib.Nifti1Image.from_bytes(gzip.decompress(archive.read(masks[0])))
    expected = inside_box(mask.shape)
    expected[0, 0, 0] = True
    np.testing.assert_array_equal(np.asarray(mask.dataobj), expected)
    np.testing.assert_allclose(mask.affine, nib.load(tiny_server.studies / f"{image}.nii.gz").affine, atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ([], "0 boxes; give 1 to 500"),
        ([BOX] * 501, "501 boxes; give 1 to 500"),
        ([[[2, 3, 1], [1, 8, 6]]], "params.verified.0: from [2, 3, 1] to [1, 8, 6] is no box"),
        ([BOX, [[0, 0, 0], [4000, 1, 1]]], "params.verified.1: from [0, 0, 0] to [4000, 1, 1] is no box"),
        ([[[-1, 0, 0], [1, 1, 1]]], "params.verified.0"),
        ([[[0, 0], [1, 1]]], "params.verified.0"),
        ([[[0, 0, 0.5], [1, 1, 1]]], "params.verified.0"),
        ([[["0", 0, 0], [1, 1, 1]]], "params.verified.0"),
        ("all", "params.verified"),
        ({"first": [0, 0, 0]}, "params.verified"),
    ],
)
def test_boxes_that_cannot_be_are_refused_and_nothing_is_kept(tiny_server, labelled, wrong, named):
    image = labelled[1]
    before = newest(tiny_server, image)
    reply = save(tiny_server, image, right(tiny_server, image), verified=wrong)
    assert (reply.status_code, named in reply.json()["detail"]) == (400, True), reply.text
    assert newest(tiny_server, image) == before


def test_what_was_looked_at_cannot_be_changed_behind_a_version(tiny_server, labelled):
    about = {"label": labelled[1], "tag": "final"}
    reply = tiny_server.http.put("/datastore/label/info", params=about, data={"info": json.dumps({"verified": [BOX]})})
    assert reply.status_code == 400
    assert "belongs to a version" in reply.json()["detail"]
