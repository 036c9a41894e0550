"""A studies folder over time: nothing acknowledged is lost, absence is no deletion, what a person put there counts."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monailabel_app.errors import NotFoundError, StudiesAwayError
from monailabel_app.store import files, labels
from monailabel_app.store.known import KnownStudies
from monailabel_app.store.records import FILE
from Testing.Python.monailabel_app.store.conftest import SHAPE, voxels, write_label
from Testing.Python.uncertaintyseg import flat
from Testing.Python.uncertaintyseg.segmentation_files import write_segmentation
from uncertaintyseg.data.segments import Segment
from uncertaintyseg.errors import InputError, StorageError

CURRENT = "labels/final/a.nii.gz"


def states(datastore) -> list[tuple[str, set[int]]]:
    """Source and content of each version of the final label."""
    found = datastore.store.versions("a", "final")
    return [(v.source, voxels(datastore._studies.versions.path(v.sha256, v.suffix))) for v in found]


def test_a_folder_in_order_needs_no_repair(datastore, open_folder):
    said = {"total": 1, "completed": 1, "label_tags": {"final": 1}, "repaired": [], "skipped": {}, "missing": []}
    assert datastore.status() == said
    again = open_folder()
    assert again.status() == said
    assert again.get_image_info("a")["ward"] == 3
    assert again.get_label_info("a", "final")["author"] == "me"


def test_every_label_that_was_saved_is_kept_and_the_newest_counts(datastore, studies, tmp_path):
    for value in (2, 3):
        write_label(tmp_path / "next.nii.gz", value)
        datastore.save_label("a", str(tmp_path / "next.nii.gz"), "final", {}, made_by="anna", seconds=value * 10.0)
    assert states(datastore) == [("saved", {1}), ("saved", {2}), ("saved", {3})]
    assert voxels(studies / CURRENT) == {3}
    last = datastore.store.versions("a", "final")[-1]
    assert (last.made_by, last.seconds) == ("anna", 30.0)


def test_an_old_version_is_restored_as_the_newest(datastore, studies, tmp_path):
    write_label(tmp_path / "next.nii.gz", 2)
    datastore.save_label("a", str(tmp_path / "next.nii.gz"), "final", {})
    first = datastore.store.versions("a", "final")[0]
    datastore.restore(first)
    assert states(datastore) == [("saved", {1}), ("saved", {2}), (f"restored {first.id}", {1})]
    assert voxels(studies / CURRENT) == {1}


def test_as_many_versions_are_kept_as_was_asked_for(open_folder, studies, tmp_path):
    datastore = open_folder(keep_versions=2)
    for value in range(1, 6):
        datastore.save_label("a", str(write_label(tmp_path / "l.nii.gz", value)), "final", {})
    assert states(datastore) == [("saved", {4}), ("saved", {5})]
    assert len(list((studies / "versions").iterdir())) == 2


def test_a_removed_label_stays_as_a_version_and_can_come_back(datastore, studies):
    datastore.remove_label("a", "final")
    assert datastore.get_labeled_images() == []
    assert not (studies / CURRENT).exists()
    datastore.restore(datastore.store.versions("a")[0])
    assert voxels(studies / CURRENT) == {1}


def test_a_label_that_a_person_put_in_place_of_one_becomes_a_version_and_counts(datastore, studies):
    write_label(studies / CURRENT, 2)
    datastore.refresh()
    assert states(datastore) == [("saved", {1}), ("by hand", {2})]
    assert voxels(datastore.get_label_uri("a", "final")) == {2}
    assert "by hand" in datastore.repaired[-1]
    said = list(datastore.repaired)
    datastore.refresh()
    assert datastore.repaired == said


def test_a_label_by_hand_is_kept_even_when_a_save_comes_before_anybody_looked(datastore, studies, tmp_path):
    write_label(studies / CURRENT, 2)
    datastore.save_label("a", str(write_label(tmp_path / "l.nii.gz", 3)), "final", {})
    assert sorted(map(str, states(datastore))) == sorted(map(str, [("saved", {1}), ("by hand", {2}), ("saved", {3})]))
    assert voxels(studies / CURRENT) == {3}


def test_a_file_by_hand_that_is_no_label_of_its_scan_is_left_and_named(datastore, studies):
    nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)).to_filename(studies / CURRENT)
    write_label(studies / "labels" / "final" / "stranger.nii.gz", 1)
    datastore.refresh()
    assert datastore.skipped().keys() == {CURRENT, "labels/final/stranger.nii.gz"}
    assert "grid" in datastore.skipped()[CURRENT]
    assert str(studies) not in str(datastore.skipped())
    assert states(datastore) == [("saved", {1})]
    assert (studies / CURRENT).stat().st_size  # nobody repaired it away


def test_masks_as_pictures_and_labels_without_a_tag_are_named_with_the_way_out(datastore, studies):
    labels = studies / "labels"
    for name in ("a.png", "final/a.png", "final/a/0.png", "a/0.png", "a/1.png"):
        flat.write_png(labels / name, np.ones(SHAPE[:2], np.uint8))
    write_label(labels / "a.nii.gz", 2)
    datastore.refresh()
    found = datastore.skipped()
    masks = {"labels/a.png", "labels/final/a.png", "labels/final/a", "labels/a"}
    assert found.keys() == {*masks, "labels/a.nii.gz"}
    assert all("--mask-of SCAN" in found[name] for name in masks)
    assert found["labels/a.nii.gz"].endswith("move it to labels/final")
    assert datastore.status()["skipped"] == found
    assert states(datastore) == [("saved", {1})]


@pytest.mark.parametrize("name", ["a.seg.nrrd", "a.nrrd"])
def test_a_segmentation_with_names_by_hand_is_left_and_the_way_out_said(open_folder, studies, name):
    path = studies / "labels" / "final" / name
    write_segmentation(path, np.ones(SHAPE, np.uint8), np.eye(4), [Segment("lesion", 1)])
    datastore = open_folder()
    (reason,) = (reason for file, reason in datastore.skipped().items() if file == f"labels/final/{name}")
    assert "PUT /datastore/label" in reason
    assert datastore.get_labeled_images() == []
    assert path.is_file()


def test_a_label_in_another_format_by_hand_is_replaced_by_the_next_save_and_kept(datastore, studies, tmp_path):
    (studies / CURRENT).unlink()
    nib.Nifti1Image(np.full(SHAPE, 2, np.uint8), np.eye(4)).to_filename(studies / "labels/final/a.nii")
    datastore.refresh()
    assert datastore.get_label_uri("a", "final").endswith("a.nii")
    datastore.save_label("a", str(write_label(tmp_path / "l.nii.gz", 3)), "final", {})
    assert [path.name for path in (studies / "labels/final").iterdir()] == ["a.nii.gz"]
    assert [source for source, _ in states(datastore)] == ["saved", "by hand", "saved"]


def test_a_label_whose_file_vanished_is_written_again(datastore, studies):
    (studies / CURRENT).unlink()
    datastore.refresh()
    assert voxels(studies / CURRENT) == {1}
    assert "written again" in datastore.repaired[-1]


def test_a_scan_that_is_away_keeps_its_label_its_notes_and_its_place(datastore, studies, open_folder):
    (studies / "a.nii.gz").rename(studies.parent / "a.nii.gz")
    datastore.refresh()
    assert datastore.list_images() == []
    assert datastore.status()["missing"] == ["a"]
    with pytest.raises(NotFoundError, match="is away"):
        datastore.image_path("a")
    datastore = open_folder()
    (studies.parent / "a.nii.gz").rename(studies / "a.nii.gz")
    datastore.refresh()
    assert datastore.status()["missing"] == []
    assert datastore.get_image_info("a")["ward"] == 3
    assert datastore.get_labeled_images() == ["a"]


def test_an_admin_can_remove_a_scan_that_is_away_and_nothing_of_it_stays(datastore, studies):
    (studies / "a.nii.gz").unlink()
    datastore.refresh()
    datastore.remove_image("a")
    assert datastore.missing() == []
    assert not [path for path in studies.rglob("*") if path.is_file() and path.suffix == ".gz"]


@pytest.mark.parametrize("folder", [False, True])
def test_removing_a_linked_scan_removes_the_link_alone(open_folder, studies, tmp_path, folder):
    outside = tmp_path / "archive"
    outside.mkdir()
    (outside / "deep").mkdir()
    write_label(outside / "deep" / "scan.nii.gz", 1)
    target = outside / "deep" if folder else outside / "deep" / "scan.nii.gz"
    datastore = open_folder()
    datastore.store.put_image("linked", "linked.nii.gz", {})
    (studies / "linked.nii.gz").symlink_to(target)
    datastore.remove_image("linked")
    assert not (studies / "linked.nii.gz").is_symlink()
    assert voxels(outside / "deep" / "scan.nii.gz") == {1}


def test_while_the_folder_is_away_everything_says_so_and_afterwards_all_is_there(datastore, studies, label):
    away = studies.rename(studies.parent / "away")
    for _ in range(2):
        for use in (
            datastore.status,
            lambda: datastore.save_label("a", str(label), "final", {}),
            lambda: datastore.update_image_info("a", {}),
            datastore.refresh,
        ):
            with pytest.raises((StudiesAwayError, InputError)):
                use()
        assert not studies.exists() or not any(studies.iterdir())  # nothing was put where the share belongs
        studies.mkdir(exist_ok=True)  # an unmounted share leaves its mount point
    studies.rmdir()
    away.rename(studies)
    assert datastore.get_labeled_images() == ["a"]
    datastore.save_label("a", str(label), "final", {})


def test_a_known_folder_that_is_empty_at_the_start_waits_until_it_is_back(datastore, open_folder, studies, tmp_path):
    known = KnownStudies(tmp_path / "known.json")
    open_folder(known=known).close()
    away = studies.rename(tmp_path / "away")
    studies.mkdir()
    datastore = open_folder(known=known)
    with pytest.raises(StudiesAwayError):
        datastore.list_images()
    assert not any(studies.iterdir())
    studies.rmdir()
    away.rename(studies)
    assert datastore.get_labeled_images() == ["a"]


def test_records_begin_anew_in_a_known_folder_only_when_asked(datastore, open_folder, studies, tmp_path):
    known = KnownStudies(tmp_path / "known.json")
    open_folder(known=known).close()
    for path in studies.glob(f"{FILE}*"):
        path.unlink()
    (studies / "datastore_v2.json").unlink()
    with pytest.raises(StudiesAwayError):
        open_folder(known=known).list_images()
    assert open_folder(known=known, new=True).get_labeled_images() == ["a"]


def test_what_a_killed_write_left_is_cleared_away(datastore, open_folder, studies):
    datastore.close()
    left = [studies / f".x.{'0' * 32}.tmp", studies / "labels" / "final" / f".a.nii.gz.{'1' * 32}.tmp"]
    for path in left:
        path.write_bytes(b"half")
    datastore = open_folder()
    assert not any(path.exists() for path in left)
    assert all(path.name in datastore.repaired[0] for path in left)


def test_a_second_server_on_the_folder_changes_nothing(datastore, studies):
    from monailabel_app.app.datastore import StudyDatastore

    with pytest.raises(InputError, match="another server"):
        StudyDatastore(str(studies))
    assert datastore.get_image_info("a")["ward"] == 3


def test_saves_at_once_leave_the_record_and_the_file_of_the_same_one(datastore, studies, tmp_path):
    """Rounds of 4 threads: the file, its record and the newest version always agree."""
    paths = [write_label(tmp_path / f"{value}.nii.gz", value) for value in range(1, 5)]
    for _ in range(8):
        gate = threading.Barrier(len(paths))

        def save(path, gate=gate):
            gate.wait()
            datastore.save_label("a", str(path), "final", {"value": int(path.name[0])})

        threads = [threading.Thread(target=save, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        value = datastore.get_label_info("a", "final")["value"]
        assert voxels(studies / CURRENT) == {value}
        assert states(datastore)[-1] == ("saved", {value})


def test_a_file_with_the_time_and_size_of_the_one_it_replaces_is_all_that_goes_unseen(datastore, studies, tmp_path):
    """Bytes are compared whenever size or time differ, so a copy that keeps the time of another file is seen too."""
    before = (studies / CURRENT).stat()
    write_label(studies / CURRENT, 2)
    os.utime(studies / CURRENT, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    datastore.refresh()
    assert states(datastore)[-1] == ("by hand", {2})


def failing(*_arguments: object, **_options: object) -> None:
    raise StorageError("the disk is full")


def test_an_old_file_that_could_not_be_replaced_yet_is_nobodys_label(datastore, studies, tmp_path, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(labels, "write_bytes", failing)
        datastore.save_label("a", str(write_label(tmp_path / "l.nii.gz", 2)), "final", {})
        assert voxels(datastore.get_label_uri("a", "final")) == {2}  # what counts is served all the same
        datastore.refresh()
    datastore.refresh()
    assert states(datastore) == [("saved", {1}), ("saved", {2})]
    assert voxels(studies / CURRENT) == {2}


def test_a_label_that_could_not_be_removed_yet_does_not_come_back(datastore, studies, monkeypatch):
    with monkeypatch.context() as stuck:
        stuck.setattr(files, "remove", failing)
        datastore.remove_label("a", "final")
        datastore.refresh()
        assert datastore.get_labeled_images() == []
    datastore.refresh()
    assert not (studies / CURRENT).exists()


def test_what_was_to_be_removed_stays_when_it_counts_again(datastore, open_folder, studies, label, monkeypatch):
    """Another image with the same label, and a label by hand in the place of one that was removed."""
    (studies / "b.nii.gz").write_bytes((studies / "a.nii.gz").read_bytes())
    datastore.refresh()
    with monkeypatch.context() as stuck:
        stuck.setattr(files, "remove", failing)
        datastore.remove_image("a")
        datastore.save_label("b", str(label), "final", {})
        datastore.remove_label("b", "final")
    write_label(studies / "labels/final/b.nii.gz", 5)
    datastore = open_folder()
    [saved, by_hand] = datastore.store.versions("b")
    assert voxels(datastore._studies.versions.path(saved.sha256, saved.suffix)) == {1}
    assert (by_hand.source, datastore.missing()) == ("by hand", [])


def test_the_same_label_saved_twice_stays_though_one_of_the_saves_fails(open_folder, studies, label):
    datastore = open_folder()

    def refuse(_version):
        raise StorageError("the disk is full")

    def note(version):  # meanwhile another save of the same bytes is undone
        datastore._studies._drop_file(version.sha256, version.suffix)

    with pytest.raises(StorageError):
        datastore.save_label("a", str(label), "final", {}, refuse)
    kept = datastore._studies.versions.keep(label.read_bytes(), ".nii.gz")
    datastore._studies._drop_file(*kept[:2])  # the other one fails before this one begins
    datastore.save_label("a", str(label), "final", {}, note)
    assert states(datastore) == [("saved", {1})]


def test_a_label_in_another_format_by_hand_is_known_though_replacing_it_failed(
    datastore, studies, tmp_path, monkeypatch
):
    nib.Nifti1Image(np.full(SHAPE, 4, np.uint8), np.eye(4)).to_filename(studies / "labels/final/a.nii")
    with monkeypatch.context() as full:
        full.setattr(labels, "write_bytes", failing)
        datastore.save_label("a", str(write_label(tmp_path / "l.nii.gz", 2)), "final", {})
    assert ("by hand", {4}) in states(datastore)
    datastore.refresh()
    assert voxels(datastore.get_label_uri("a", "final")) == {2}


def test_removing_a_series_leaves_the_scans_below_its_folder(open_folder, studies):
    for name in ("patient/1.dcm", "patient/second/1.dcm"):
        (studies / name).parent.mkdir(parents=True, exist_ok=True)
        (studies / name).write_bytes(bytes(128) + b"DICM" + bytes(64))
    (studies / "patient" / "other.nii.gz").write_bytes((studies / "a.nii.gz").read_bytes())
    datastore = open_folder()
    datastore.store.put_image("patient", "patient", {})
    datastore.remove_image("patient")
    left = sorted(str(path.relative_to(studies)) for path in (studies / "patient").rglob("*") if path.is_file())
    assert left == ["patient/other.nii.gz", "patient/second/1.dcm"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep names as text")
def test_names_that_are_no_text_are_listed_and_stop_nothing(datastore, studies, open_folder):
    odd = Path(os.fsdecode(bytes(studies / "labels") + b"/m\xfcller"))
    odd.mkdir()
    (odd / "a.nii.gz").write_bytes((studies / CURRENT).read_bytes())
    datastore = open_folder()
    assert any("ller" in name for name in datastore.skipped())
    json.dumps(datastore.status(), ensure_ascii=False).encode()


def test_tags_that_some_systems_take_for_one_are_refused(datastore, label):
    for tag in ("Final", "ORIGINAL"):
        with pytest.raises(InputError, match="take both for one"):
            datastore.save_label("a", str(label), tag, {})


def test_looking_ends_though_somebody_writes_notes_meanwhile(datastore, monkeypatch):
    find = datastore._studies._find
    looks = []

    def slow(records):
        looks.append(1)
        datastore.update_image_info("a", {"ward": len(looks)})
        return find(records)

    monkeypatch.setattr(datastore._studies, "_find", slow)
    datastore.refresh()
    assert len(looks) == 1
