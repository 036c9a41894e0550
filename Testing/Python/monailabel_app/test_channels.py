"""Scans of several channels on a real server: cases of the studies, uploads and sessions, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.servers import SERVE, Server
from uncertaintyseg.data.writing import write_volume

MODEL = "pair_deterministic"


@pytest.fixture(scope="module")
def pair(launch, tmp_path_factory) -> Server:
    """A model of two channels over one case of two files, and a scan of one."""
    from Testing.Python.uncertaintyseg import tiny

    folder = tmp_path_factory.mktemp("pair")
    files, truth = tiny.write_two_channels(folder / "scans")
    tiny.write_phantoms(folder, 1)
    tiny.write_two_channel_bundle(folder / "models")
    command = [*SERVE, "--models", str(folder / "models"), "--cache", str(folder / "cache")]
    server = launch(command, [*files, folder / "images" / "case_0.nii.gz"])
    np.save(folder / "truth.npy", truth)
    server.folder = folder
    return server


def channels(pair: Server) -> list[Path]:
    return [pair.folder / "scans" / f"case_{number:04d}.nii.gz" for number in range(2)]


def form(*files: Path, first: str = "file") -> list[tuple[str, tuple[str, bytes]]]:
    fields = [first, *["channels"] * (len(files) - 1)]
    return [(field, (file.name, file.read_bytes())) for field, file in zip(fields, files, strict=True)]


def agrees(pair: Server, label: nib.Nifti1Image) -> bool:
    return float((np.asarray(label.dataobj) == np.load(pair.folder / "truth.npy", allow_pickle=False)).mean()) > 0.99


def moved(path: Path, folder: Path) -> Path:
    image = nib.load(path)
    write_volume(folder / path.name, np.asarray(image.dataobj), image.affine + np.diag([0.5, 0, 0, 0]))
    return folder / path.name


def test_the_server_says_which_channels_its_models_take(pair):
    models = pair.http.get("/info/").json()["models"]
    assert models[MODEL]["channels"] == ["T1", "CT"]
    assert pair.http.get(f"/uncertainty/v1/models/{MODEL}").json()["channels"] == ["T1", "CT"]
    assert models["hippocampus_low_rank"]["channels"] == ["image"]


def test_files_of_one_case_are_one_image_that_the_model_segments(pair):
    assert pair.images() == ["case", "case_0"]
    end = pair.infer(MODEL, "case")
    assert end["state"] == "done", end
    risk = end["result"]["risk"]
    assert agrees(pair, pair.volume(f"/uncertainty/v1/results/{risk['result']}/label.nii.gz"))
    assert risk["provenance"]["channels"] == {"T1": "case_0000.nii.gz", "CT": "case_0001.nii.gz"}
    for number, file in enumerate(channels(pair)):
        reply = pair.http.get(f"/datastore/image?image=case&channel={number}")
        assert reply.content == file.read_bytes()
    assert pair.http.get("/datastore/image?image=case&channel=2").status_code == 404
    assert pair.http.get("/datastore/image?image=case_0&channel=1").status_code == 404


def test_the_result_is_kept_for_the_content_of_all_channels(pair):
    first = pair.infer(MODEL, "case")["result"]["risk"]["result"]
    assert pair.infer(MODEL, "case")["result"]["risk"]["result"] == first
    second = pair.studies / "case_0001.nii.gz"
    before = second.read_bytes()
    image = nib.load(second)
    try:
        write_volume(second, np.asarray(image.dataobj) + 1, image.affine)
        assert pair.infer(MODEL, "case")["result"]["risk"]["result"] != first
    finally:
        second.write_bytes(before)


def test_an_upload_of_several_files_becomes_a_case_and_goes_with_all_of_them(pair):
    reply = pair.http.put("/datastore/image?image=new", files=form(*channels(pair)))
    assert reply.status_code == 200, reply.text
    assert reply.json() == {"image": "new"}
    assert sorted(path.name for path in pair.studies.glob("new*")) == ["new_0000.nii.gz", "new_0001.nii.gz"]
    assert "new" in pair.images()
    end = pair.infer(MODEL, "new")
    assert agrees(pair, pair.volume(f"/uncertainty/v1/results/{end['result']['risk']['result']}/label.nii.gz"))
    assert pair.http.put("/datastore/image?image=new", files=form(*channels(pair))).status_code == 400
    assert pair.http.delete("/datastore/image?id=new").status_code == 200
    assert not list(pair.studies.glob("new*"))


def test_a_session_and_a_request_may_bring_several_files(pair):
    session = pair.http.put("/session/", files=form(*channels(pair), first="files")).json()["session_id"]
    answers = [
        pair.http.post(f"/infer/{MODEL}?session_id={session}&output=json"),
        pair.http.post(f"/infer/{MODEL}?output=json", files=form(*channels(pair))),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        key = answer.json()["risk"]["result"]
        assert agrees(pair, pair.volume(f"/uncertainty/v1/results/{key}/label.nii.gz"))
    assert pair.http.delete(f"/session/{session}").status_code == 200


@pytest.mark.parametrize(
    ("made", "status", "message"),
    [
        (lambda t1, _ct, _folder: [t1], 400, "the scan has 1 of them, one file each: .* takes 2 channels .T1, CT."),
        (lambda t1, ct, folder: [t1, moved(ct, folder)], 400, r"case_0001\.nii\.gz: its grid is not that of case_0000"),
        (lambda t1, _ct, _folder: [t1, t1], 400, "the same image as"),
        (lambda t1, ct, _folder: [ct, t1], 400, "T1 looks like CT and CT does not: channels swapped"),
        (lambda t1, ct, folder: [t1, ct, third(t1, folder)], 400, "the scan has 3 channels; .* takes 2 channels"),
        (lambda t1, ct, folder: [t1, ct, *[third(t1, folder)] * 15], 413, "17 files, more than the 16"),
    ],
    ids=["missing", "another grid", "twice", "swapped", "one too many", "far too many"],
)
def test_what_is_no_scan_of_the_model_is_refused_by_request_and_by_session(pair, tmp_path, made, status, message):
    files = made(*channels(pair), tmp_path)
    asked = pair.http.post(f"/infer/{MODEL}?output=json", files=form(*files))
    assert (asked.status_code, bool(re.search(message, asked.text))) == (status, True), asked.text
    assert str(tmp_path.parent) not in asked.text
    added = pair.http.put("/session/", files=form(*files, first="files"))
    if added.status_code == 200:
        added = pair.http.post(f"/infer/{MODEL}?session_id={added.json()['session_id']}&output=json")
    assert (added.status_code, bool(re.search(message, added.text))) == (status, True), added.text


def third(path: Path, folder: Path) -> Path:
    image = nib.load(path)
    write_volume(folder / "third.nii.gz", np.asarray(image.dataobj) + 7, image.affine)
    return folder / "third.nii.gz"


def test_swapped_channels_run_where_somebody_says_that_they_are_right(pair):
    files = form(*reversed(channels(pair)))
    force = {"params": json.dumps({"force": True})}
    assert pair.http.post(f"/infer/{MODEL}?output=json", files=files, data=force).status_code == 200
    assert pair.http.post(f"/infer/{MODEL}?output=json", files=files).status_code == 400


def test_a_scan_of_one_channel_is_refused_before_a_job_and_by_its_id(pair):
    for path, body in (
        ("/uncertainty/v1/jobs", {"kind": "infer", "model": MODEL, "image": "case_0"}),
        ("/uncertainty/v1/check", {"model": MODEL, "image": "case_0"}),
    ):
        reply = pair.http.post(path, json=body)
        assert reply.status_code == 400
        assert reply.json()["detail"].startswith("case_0 has 1 of them")
    assert pair.http.post("/uncertainty/v1/check", json={"model": MODEL, "image": "case"}).json() == {"warnings": []}


def test_an_upload_has_as_many_channels_as_a_model_takes(pair, tmp_path):
    files = [*channels(pair), third(channels(pair)[0], tmp_path)]
    reply = pair.http.put("/datastore/image?image=three", files=form(*files))
    assert (reply.status_code, reply.json()["detail"]) == (400, "channels: 3 channels; its models take 2")


def test_a_series_has_no_further_channels(pair):
    files = [("files", (file.name, file.read_bytes())) for file in channels(pair)]
    reply = pair.http.put("/session/", files=[*files, ("channels", files[0][1])])
    assert reply.status_code == 400
    assert "one volume under 'files'" in reply.json()["detail"]
