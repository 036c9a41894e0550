"""Folders that an older server, MONAI Label itself or a damaged disk left."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monailabel.datastore.local import LocalDatastore

from monailabel_app.store.exports import RECORDS
from monailabel_app.store.importing import KEPT
from monailabel_app.store.records import FILE
from monailabel_app.store.review_status import ReviewStatus, review_of
from Testing.Python.monailabel_app.store.conftest import voxels, write_label


@pytest.fixture
def older(studies, label):
    """The folder as MONAI Label's own datastore leaves it."""
    stock = LocalDatastore(str(studies), extensions=["*.nii.gz"])
    stock.save_label("a", str(label), "final", {"author": "me"})
    stock.update_image_info("a", {"ward": 3})
    return studies / RECORDS


def test_an_older_folder_is_taken_over_with_its_notes_and_labels(older, open_folder, studies):
    before = older.read_bytes()
    datastore = open_folder()
    assert datastore.get_image_info("a")["ward"] == 3
    assert datastore.get_label_info("a", "final")["author"] == "me"
    assert voxels(datastore.get_label_uri("a", "final")) == {1}
    assert [v.source for v in datastore.store.versions("a")] == ["imported"]
    assert (studies / KEPT).read_bytes() == before
    assert "imported" in datastore.repaired[0]


def test_it_is_taken_over_once(older, open_folder):
    open_folder().update_image_info("a", {"ward": 4})
    again = open_folder()
    assert again.get_image_info("a")["ward"] == 4
    assert again.repaired == []


def test_labels_that_lay_there_without_a_record_are_checked_and_counted(studies, open_folder):
    write_label(studies / "labels" / "final" / "a.nii.gz", 2)
    (studies / "labels" / "original").mkdir()
    (studies / "labels" / "original" / "a.nii.gz").write_bytes(b"nothing")
    datastore = open_folder()
    assert datastore.tags() == {"a": ["final"]}
    assert "labels/original/a.nii.gz" in datastore.skipped()


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", "[" * 50 + "]" * 50, "123456789012345678901234567890"])
def test_what_no_reader_could_read_back_is_left_out_and_said(older, open_folder, value):
    older.write_text(older.read_text(encoding="utf-8").replace('"ward": 3', f'"odd": {value}, "ward": 3'))
    datastore = open_folder()
    assert datastore.get_image_info("a").keys() >= {"ward"}
    assert "odd" not in datastore.get_image_info("a")
    assert "a.info.odd" in datastore.repaired[-1]


def test_records_that_another_program_wrote_since_are_not_read_and_this_is_said(datastore, open_folder, studies):
    datastore.close()
    exported = json.loads((studies / RECORDS).read_text(encoding="utf-8"))
    exported["objects"]["a"]["image"]["info"]["ward"] = 99
    (studies / RECORDS).write_text(json.dumps(exported))
    datastore = open_folder()
    assert datastore.get_image_info("a")["ward"] == 3
    assert "another program" in datastore.repaired[0]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(min_size=1, max_size=80), st.integers(1, 99).map(lambda percent: percent / 100)))
def test_damaged_records_are_kept_aside_and_come_back_from_the_export(datastore, open_folder, studies, damage):
    """All of them: images, notes, labels and versions."""
    open_folder().close()
    path = studies / FILE
    whole = path.read_bytes()
    path.write_bytes(damage if isinstance(damage, bytes) else whole[: int(damage * len(whole))])
    damaged = path.read_bytes()
    before = set(studies.glob(f"{FILE}.corrupt-*"))
    again = open_folder()
    [aside] = {path for path in studies.glob(f"{FILE}.corrupt-*") if not path.name.endswith("-wal")} - before
    assert aside.read_bytes() == damaged
    assert aside.name in again.repaired[0]
    assert again.get_image_info("a")["ward"] == 3
    assert again.get_label_info("a", "final")["author"] == "me"
    assert [v.source for v in again.store.versions("a")] == ["saved"]


def test_reviews_of_monailabelreviewer_are_taken_over_and_what_it_never_writes_counts_as_empty(older, open_folder):
    """As in its own `UnitTests/TestDataSet/test_datastore_v2_image_with_multiple_versions.json`."""
    known = json.loads(older.read_text(encoding="utf-8"))
    meta = {"status": "approved", "approvedBy": "Dr. A", "level": "hard", "comment": "ok", "editTime": 1656312200}
    known["objects"]["a"]["labels"]["final"]["info"]["segmentationMeta"] = meta
    older.write_text(json.dumps(known))
    datastore = open_folder()
    [version] = datastore.store.versions("a")
    for info in (datastore.get_label_info("a", "final"), version.info):
        assert review_of(info) == ReviewStatus("approved", "hard", "ok", "Dr. A", 1656312200)
    answered = datastore.json()["objects"]["a"]["labels"]["final"]["info"]["segmentationMeta"]
    assert answered == {**meta, "verified": False}
    odd = {"segmentationMeta": {"status": "self.status_final", "level": 3, "editTime": "", "approvedBy": None}}
    assert review_of(odd) == ReviewStatus()
