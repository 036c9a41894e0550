"""Records change together or not at all, whatever fails, and one process has them."""

from __future__ import annotations

import sqlite3

import pytest

from monailabel_app.errors import StudiesAwayError
from monailabel_app.store.records import FILE, Records
from uncertaintyseg.errors import InputError, StorageError


@pytest.fixture
def records(tmp_path):
    found = Records(tmp_path / FILE)
    found.put_image("a", "a.nii.gz", {"ward": 1})
    yield found
    found.close()


def test_a_transaction_that_fails_leaves_nothing_of_itself_not_even_in_memory(records):
    def change() -> None:
        with records.transaction():
            records.put_image("a", "a.nii.gz", {"ward": 2})
            records.put_image("b", "b.nii.gz", {})
            records.append_audit({"event": "save"})
            assert records.images()["a"] == ("a.nii.gz", {"ward": 2})
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        change()
    assert records.images() == {"a": ("a.nii.gz", {"ward": 1})}
    assert records.last_audit(9) == []


def test_an_inner_transaction_that_fails_can_be_left_out_of_the_outer_one(records):
    done = []

    def inner() -> None:
        with records.transaction():
            records.put_image("c", "c.nii.gz", {})
            records.after_commit(lambda: done.append("inner"))
            raise ValueError("stop")

    with records.transaction():
        records.put_image("b", "b.nii.gz", {})
        with pytest.raises(ValueError, match="stop"):
            inner()
        records.after_commit(lambda: done.append("outer"))
        assert not done
    assert sorted(records.images()) == ["a", "b"]
    assert done == ["outer"]


def test_what_follows_a_transaction_does_not_follow_one_that_fails(records):
    done = []

    def change() -> None:
        with records.transaction():
            records.after_commit(lambda: done.append("never"))
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        change()
    with records.transaction():
        records.put_image("b", "b.nii.gz", {})
    assert not done


def test_a_full_disk_changes_nothing_and_the_next_write_works_when_there_is_room(records):
    pages = records._db.execute("PRAGMA page_count").fetchone()[0]
    records._db.execute(f"PRAGMA max_page_count={pages + 2}")

    def fill() -> None:
        with records.transaction():
            for i in range(1000):
                records.put_image(f"image{i}", "x" * 500, {})

    with pytest.raises(StorageError, match="nothing was changed"):
        fill()
    assert list(records.images()) == ["a"]
    records._db.execute("PRAGMA max_page_count=1000000")
    records.put_image("b", "b.nii.gz", {})
    assert sorted(records.images()) == ["a", "b"]


def test_a_second_process_does_not_get_in(records, tmp_path):
    with pytest.raises(InputError, match="another server process"):
        Records(tmp_path / FILE)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(tmp_path / FILE, timeout=0).execute("SELECT * FROM images")


def test_records_of_a_newer_version_are_left_alone(records, tmp_path):
    records._db.execute("PRAGMA user_version=99")
    records.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(InputError, match="newer version"):
        Records(tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == before


def test_nothing_is_written_while_the_file_is_not_where_it_was(records, tmp_path):
    (tmp_path / FILE).rename(tmp_path / "elsewhere.sqlite")
    with pytest.raises(StudiesAwayError), records.transaction():
        records.put_image("b", "b.nii.gz", {})
    (tmp_path / "elsewhere.sqlite").rename(tmp_path / FILE)
    with records.transaction():
        records.put_image("c", "c.nii.gz", {})
    assert sorted(records.images()) == ["a", "c"]


def test_numbers_of_versions_are_never_given_again(records):
    def add():
        return records.add_version("a", "final", ("0" * 64, ".nii.gz", 1), {}, source="saved").id

    first = add()
    records.delete_version(first)
    assert add() == first + 1


def test_a_copy_holds_what_was_committed(records, tmp_path):
    records.append_audit({"event": "save", "case": "Übersicht"})
    records.copy_to(tmp_path / "copy.sqlite")
    copy = Records(tmp_path / "copy.sqlite")
    assert copy.images() == records.images()
    assert copy.last_audit(1) == [{"event": "save", "case": "Übersicht"}]
    copy.close()
