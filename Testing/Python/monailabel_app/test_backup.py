"""A copy taken while people save is a backup: a server starts from it with all that was acknowledged until then."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import nibabel as nib
import numpy as np
import pytest

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.backup import back_up
from Testing.Python.monailabel_app.store.conftest import datastore, label, open_folder, studies, write_label  # noqa: F401
from Testing.Python.servers import SERVE, find_free_port, start, stop
from uncertaintyseg.errors import InputError


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


def back_up_by_command(folder: Path, copy: Path, url: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "monailabel_app.backup", str(folder), str(copy), "--server", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_server_starts_from_a_copy_that_was_taken_while_labels_were_saved(server, image, saving, tmp_path):
    acknowledged, copy = len(saving), tmp_path / "backup"
    done = back_up_by_command(server.studies, copy, server.url)
    assert done.returncode == 0, done.stderr
    assert "copied" in done.stdout
    upper = len(saving) + 1
    port = find_free_port()
    command = [*SERVE, "--studies", str(copy), "--port", str(port), "--cache", str(tmp_path / "cache")]
    process = start(command, port, tmp_path)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            assert sorted(http.get("/datastore/?output=all").json()["objects"]) == server.images()
            label = http.get(f"/datastore/label?label={image}&tag=final")
            assert label.status_code == 200
            voxels = np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(label.content)).dataobj)
            assert acknowledged <= np.count_nonzero(voxels) <= upper
            versions = http.get(f"/uncertainty/v1/cases/{image}/versions?tag=final").json()["versions"]
            assert sum(version["source"] == "saved" for version in versions) >= acknowledged
    finally:
        stop(process)


def test_a_second_copy_takes_what_has_changed_and_what_was_removed_goes(datastore, studies, tmp_path):  # noqa: F811
    datastore.close()
    copy = tmp_path / "copy"
    assert back_up(studies, copy, "http://127.0.0.1:9")["copied"] >= 3
    again = StudyDatastore(str(studies))
    again.remove_label("a", "final")
    again.close()
    counts = back_up(studies, copy, "http://127.0.0.1:9")
    assert counts["removed"] == 1
    assert counts["copied"] <= 1  # the exported records
    restored = StudyDatastore(str(copy))
    assert restored.get_labeled_images() == []
    assert [v.source for v in restored.store.versions("a")] == ["saved"]
    restored.close()


def test_what_is_no_backup_of_this_folder_is_not_written_into(datastore, studies, tmp_path):  # noqa: F811
    datastore.close()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="no earlier backup"):
        back_up(studies, tmp_path / "mine", "http://127.0.0.1:9")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    with pytest.raises(InputError, match="another disk"):
        back_up(studies, studies / "backup", "http://127.0.0.1:9")


def test_a_folder_that_a_server_has_is_copied_by_that_server_alone(datastore, studies, tmp_path, server):  # noqa: F811
    with pytest.raises(InputError, match="none answers"):
        back_up(studies, tmp_path / "copy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="serves another folder"):
        back_up(studies, tmp_path / "copy", server.url)
    (server.studies / "backup.sqlite").unlink()
