"""A studies folder after a crash or a damaged disk: nothing acknowledged is lost, and the start says what it did."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monailabel_app.app.datastore import StudyDatastore
from uncertaintyseg.errors import InputError

RECORDS = "datastore_v2.json"


def open_folder(studies: Path) -> StudyDatastore:
    return StudyDatastore(str(studies), auto_reload=False)


def close(datastore: StudyDatastore) -> None:
    datastore._ownership.release()  # as the end of the process does


@pytest.fixture
def label(tmp_path) -> Path:
    path = tmp_path / "mine.nii.gz"
    nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)).to_filename(path)
    return path


@pytest.fixture
def studies(tmp_path, label) -> Path:
    """A folder with a scan that has a label and a note."""
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(label.read_bytes())
    datastore = open_folder(folder)
    datastore.save_label("a", str(label), "final", {"author": "me"})
    datastore.update_image_info("a", {"ward": 3})
    close(datastore)
    return folder


def test_a_folder_in_order_needs_no_repair(studies):
    datastore = open_folder(studies)
    assert datastore.status() == {"total": 1, "completed": 1, "label_tags": {"final": 1}, "repaired": []}
    close(datastore)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=80), st.integers(0, 99).map(lambda percent: percent / 100)))
def test_records_damaged_in_any_way_are_kept_aside_and_come_back_whole(studies, damage):
    path = studies / RECORDS
    whole = path.read_bytes()
    path.write_bytes(damage if isinstance(damage, bytes) else whole[: int(damage * len(whole))])
    damaged = path.read_bytes()
    before = set(studies.glob(f"{RECORDS}.corrupt-*"))
    datastore = open_folder(studies)
    [aside] = set(studies.glob(f"{RECORDS}.corrupt-*")) - before
    [said] = datastore.repaired
    assert aside.read_bytes() == damaged
    assert aside.name in said
    assert datastore.get_image_info("a")["ward"] == 3
    assert datastore.get_label_info("a", "final")["author"] == "me"
    assert path.read_bytes() == whole
    close(datastore)


def test_without_a_readable_copy_the_files_alone_rebuild_the_records(studies):
    for path in (studies / RECORDS, studies / f"{RECORDS}.copy"):
        path.write_bytes(b"{")
    datastore = open_folder(studies)
    assert datastore.get_labeled_images() == ["a"]
    assert any("notes and scores are gone" in said for said in datastore.repaired)
    close(datastore)
    datastore = open_folder(studies)
    assert datastore.repaired == []
    close(datastore)


def test_records_damaged_under_a_running_server_are_written_again(studies):
    datastore = open_folder(studies)
    (studies / RECORDS).write_bytes(b"[]")
    datastore.refresh()
    assert json.loads((studies / RECORDS).read_text())["objects"]["a"]["image"]["info"]["ward"] == 3
    assert "as this server knows them" in datastore.status()["repaired"][0]
    close(datastore)


def test_what_a_killed_save_left_is_cleared_away_and_a_label_without_record_gets_one(studies, label):
    (studies / "b.nii.gz").write_bytes(label.read_bytes())
    (studies / "labels" / "final" / "b.nii.gz").write_bytes(label.read_bytes())
    unfinished = studies / "labels" / "final" / f".b.nii.gz.{'0' * 32}.tmp"
    unfinished.write_bytes(b"half")
    datastore = open_folder(studies)
    assert not unfinished.exists()
    assert sorted(datastore.get_labeled_images()) == ["a", "b"]
    cut, without_record = datastore.repaired
    assert unfinished.name in cut
    assert "labels/final: 1 label(s)" in without_record
    close(datastore)


def test_a_record_whose_file_is_gone_is_dropped_and_said(studies):
    (studies / "labels" / "final" / "a.nii.gz").unlink()
    datastore = open_folder(studies)
    assert datastore.get_unlabeled_images() == ["a"]
    assert "files are gone" in datastore.repaired[0]
    close(datastore)


def test_a_second_server_on_the_folder_changes_nothing(studies):
    first = open_folder(studies)
    with pytest.raises(InputError, match="another server"):
        open_folder(studies)
    assert first.get_image_info("a")["ward"] == 3
    close(first)
