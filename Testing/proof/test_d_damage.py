"""A full disk, damaged files and a second server: said clearly, repaired, and nothing acknowledged is lost."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest

from Testing.proof.folders import number_of
from Testing.Python.servers import SERVE, environment, find_free_port
from Testing.Python.uncertaintyseg.tiny import give_random_weights, write_bundle
from uncertaintyseg.inference.bundle import WEIGHTS

UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]
FULL = 'mount -t tmpfs -o size=2m none "$STUDIES" && cp "$SCANS"/* "$STUDIES" && exec "$@"'


@pytest.fixture
def small_disk(folder, scans, monkeypatch):
    """A server whose studies folder is a file system of 2 MiB, which nobody else sees."""
    if shutil.which("unshare") is None or subprocess.run([*UNSHARE, "sh", "-c", "mount -t tmpfs none /mnt"]).returncode:
        pytest.skip("no file system can be mounted here (unshare --user --mount)")
    kept = folder.root / "scans"
    shutil.copytree(folder.studies, kept)
    monkeypatch.setenv("STUDIES", str(folder.studies))
    monkeypatch.setenv("SCANS", str(kept))
    folder.command = [*UNSHARE, "sh", "-c", FULL, "sh", *SERVE]
    return folder.start()


def test_a_full_disk_is_said_and_what_was_saved_stays(small_disk, scans, tmp_path, label_of, record_property):
    server = small_disk
    image = scans[0].name.removesuffix(".nii.gz")
    assert server.put_label(image, label_of(scans[0], 1)).status_code == 200
    info = server.http.get(f"/datastore/label/info?label={image}&tag=final").json()
    noise = nib.Nifti1Image(np.random.default_rng(0).normal(0, 100, (96, 96, 64)).astype(np.float32), np.eye(4))
    big = gzip.compress(noise.to_bytes())
    answer = server.http.put("/datastore/image", files={"file": ("big.nii.gz", big)})
    assert answer.status_code == 507, answer.text
    assert "disk is full" in answer.json()["detail"]
    record_property("full disk (tmpfs of 2 MiB)", f"{answer.status_code}: {answer.json()['detail'].split(': ', 1)[-1]}")
    assert "big" not in server.images()
    saved = server.http.get(f"/datastore/label?label={image}&tag=final").content
    (tmp_path / "saved.nii.gz").write_bytes(saved)
    assert number_of(tmp_path / "saved.nii.gz") == 1
    assert server.http.get(f"/datastore/label/info?label={image}&tag=final").json() == info
    assert server.put_label(image, label_of(scans[0], 2)).status_code == 200, "there is space for this one"


def test_damaged_records_come_back_and_the_start_says_so(folder, scans, label_of, record_property):
    server = folder.start()
    image = scans[0].name.removesuffix(".nii.gz")
    assert server.put_label(image, label_of(scans[0], 3), author="me").status_code == 200
    before = server.http.get("/datastore/?output=all").json()
    exported = folder.studies / "datastore_v2.json"
    server.wait_until(lambda: "final" in json.loads(exported.read_text(encoding="utf-8"))["objects"][image]["labels"])
    folder.stop()
    records = folder.studies / "studies.sqlite"
    os.truncate(records, records.stat().st_size // 2)
    server = folder.start()
    said = server.http.get("/info/").json()["datastore"]["repaired"]
    assert server.http.get("/datastore/?output=all").json() == before
    assert said[0] in server.log.read_text(encoding="utf-8")
    [aside] = folder.studies.glob("studies.sqlite.corrupt-*")
    assert aside.name in said[0]
    record_property("records cut in half", "; ".join(said).replace(aside.name, "studies.sqlite.corrupt-<when>"))


def test_a_share_that_goes_away_is_said_and_nothing_is_put_in_its_place(folder, scans, label_of, record_property):
    server = folder.start()
    image = scans[0].name.removesuffix(".nii.gz")
    assert server.put_label(image, label_of(scans[0], 7)).status_code == 200
    before = server.http.get("/datastore/?output=all").json()
    away = folder.studies.with_name("away")
    folder.studies.rename(away)
    for _ in ("gone", "an empty mount point"):
        answers = [
            server.http.get("/info/"),
            server.http.get("/uncertainty/v1/cases"),
            server.put_label(image, label_of(scans[0], 8)),
            server.http.put(f"/datastore/image/info?image={image}", data={"info": "{}"}),
            server.http.post("/activelearning/random", json={}),
        ]
        assert [answer.status_code for answer in answers] == [503] * len(answers)
        assert not folder.studies.exists() or not any(folder.studies.iterdir())
        folder.studies.mkdir(exist_ok=True)
    folder.studies.rmdir()
    away.rename(folder.studies)
    assert server.http.get("/datastore/?output=all").json() == before
    folder.stop()
    folder.studies.rename(away)
    folder.studies.mkdir()
    server = folder.start(answers=503)
    assert server.put_label(image, label_of(scans[0], 9)).status_code == 503
    assert not any(folder.studies.iterdir())
    folder.studies.rmdir()
    away.rename(folder.studies)
    assert server.http.get("/datastore/?output=all").json() == before
    assert server.put_label(image, label_of(scans[0], 9)).status_code == 200
    record_property("share gone, and an empty mount point, while running and at the start", "503; as before once back")


def test_cut_weights_are_refused_by_name_and_other_models_answer(folder, scans, record_property):
    bundle = give_random_weights(write_bundle(folder.root / "models"))
    os.truncate(bundle.folder / WEIGHTS, (bundle.folder / WEIGHTS).stat().st_size // 2)
    server = folder.start("--models", folder.root / "models")
    image = scans[0].name.removesuffix(".nii.gz")
    answer = server.http.post(f"/infer/{bundle.name}?image={image}&output=json")
    assert 400 <= answer.status_code < 500, answer.text
    assert "model.safetensors" in answer.json()["detail"]
    assert server.infer(server.baseline, image)["state"] == "done"
    record_property("weights cut in half", f"{answer.status_code}, names the file; other models answer")


def test_a_damaged_result_in_the_cache_is_computed_again(folder, scans, record_property):
    server = folder.start()
    image = scans[0].name.removesuffix(".nii.gz")
    key = server.infer(server.baseline, image)["result"]["risk"]["result"]
    os.truncate(folder.root / "cache" / "results" / key / "report.json", 20)
    state = server.infer(server.baseline, image)
    assert state["state"] == "done", state
    assert state["result"]["risk"]["result"] == key
    record_property("cached result cut short", "computed again")


def test_a_second_server_is_refused_and_the_first_goes_on(folder, scans, label_of, record_property):
    server = folder.start()
    image = scans[0].name.removesuffix(".nii.gz")
    command = [*SERVE, "--studies", str(folder.studies), "--port", str(find_free_port())]
    second = subprocess.run(
        command, env=environment(folder.root / "second"), cwd=folder.root, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 2
    assert "another server" in second.stderr
    assert server.put_label(image, label_of(scans[0], 5)).status_code == 200
    server = folder.restart()
    assert number_of(folder.label(image)) == 5
    assert server.http.get("/info/").json()["datastore"]["repaired"] == []
    record_property("second server on the folder", "exits with 2 and says why; the first one's labels are all there")
