"""A copy of the studies folder, taken while people work, is a backup: a server starts from it with all it was told."""

from __future__ import annotations

import gzip
import shutil
import threading

import httpx
import nibabel as nib
import numpy as np
import pytest

from Testing.Python.servers import SERVE, find_free_port, start, stop


@pytest.fixture
def saving(server, image):
    """Somebody who saves a label again and again, each with one voxel more; the numbers that were acknowledged."""
    scan = nib.load(server.studies / f"{image}.nii.gz")
    done, saved = threading.Event(), []

    def keep_saving() -> None:
        while not done.is_set():
            values = np.zeros(scan.shape, np.uint8)
            values.flat[: len(saved) + 1] = 1
            files = {"label": ("label.nii.gz", gzip.compress(nib.Nifti1Image(values, scan.affine).to_bytes()))}
            answer = server.http.put(f"/datastore/label?image={image}&tag=final", files=files)
            assert answer.status_code == 200, answer.text
            saved.append(len(saved) + 1)

    worker = threading.Thread(target=keep_saving)
    worker.start()
    server.wait_until(lambda: len(saved) > 3 or not worker.is_alive())
    yield saved
    done.set()
    worker.join()
    server.remove_label(image)


def test_a_server_starts_from_a_copy_that_was_taken_while_labels_were_saved(server, image, saving, tmp_path):
    acknowledged = len(saving)
    copy = tmp_path / "backup"
    copy.mkdir()
    shutil.copy(server.studies / "datastore_v2.json", copy)  # as docs/deployment.md says: the records first
    shutil.copytree(server.studies, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "datastore_v2.json"))
    port = find_free_port()
    command = [*SERVE, "--studies", str(copy), "--port", str(port), "--cache", str(tmp_path / "cache")]
    process = start(command, port, tmp_path)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            assert sorted(http.get("/datastore/?output=all").json()["objects"]) == server.images()
            label = http.get(f"/datastore/label?label={image}&tag=final")
            assert label.status_code == 200
            voxels = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(label.content)).dataobj)
            assert acknowledged <= np.count_nonzero(voxels) <= len(saving) + 1
    finally:
        stop(process)
