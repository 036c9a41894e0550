"""A studies folder as people have it: every scan is listed, or its absence with the reason."""

from __future__ import annotations

import os
import sys

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from monailabel_app.names import checked_name
from monailabel_app.store.catalogue import find_scans
from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.errors import InputError

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="Windows lets only some users make links")


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"voxels")


def put_slices(folder, count=3, series=None, name="IM{:04d}", kind="1.2.840.10008.5.1.4.1.1.2"):
    series = series or generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.SeriesInstanceUID = series
        one.is_little_endian, one.is_implicit_VR = True, False
        one.save_as(folder / name.format(number), write_like_original=False)


def scans(folder):
    return {i: path.relative_to(folder).as_posix() for i, path in find_scans(folder).scans.items()}


def test_a_folder_as_people_have_it(tmp_path):
    put(
        tmp_path,
        "plain.nii.gz",
        "._plain.nii.gz",
        "UPPER.NII.GZ",
        "twice.nii.gz",
        "twice.nrrd",
        "ward/week/inner.nii.gz",
    )
    put_slices(tmp_path / "series")
    put_slices(tmp_path / "ward" / "ct", name="{}.dcm")
    found = find_scans(tmp_path)
    assert scans(tmp_path) == {
        "UPPER": "UPPER.NII.GZ",
        "plain": "plain.nii.gz",
        "series": "series",
        "ward__ct": "ward/ct",
        "ward__week__inner": "ward/week/inner.nii.gz",
    }
    assert found.skipped == {
        "._plain.nii.gz": "left by macOS beside the file of that name",
        "twice.nii.gz": "would be 'twice' like twice.nrrd; rename one of them",
        "twice.nrrd": "would be 'twice' like twice.nii.gz; rename one of them",
    }


@pytest.mark.parametrize("suffix", [case(s) for s in IMAGE_SUFFIXES for case in (str, str.upper, str.title)])
def test_every_volume_is_served_whatever_the_case_of_its_ending(tmp_path, suffix):
    put(tmp_path, f"a{suffix}", f"deep/b{suffix}")
    assert scans(tmp_path) == {"a": f"a{suffix}", "deep__b": f"deep/b{suffix}"}
    assert not find_scans(tmp_path).skipped


def test_what_the_server_and_systems_keep_there_needs_no_mention(tmp_path):
    put(tmp_path, "a.nii.gz", "labels/final/a.nii.gz", "labels/original/x.nii.gz", "versions/0/ab.nii.gz")
    put(tmp_path, "datastore_v2.json", "datastore_v2.json.copy", "datastore_v2.json.corrupt-20260101", "studies.sqlite")
    put(
        tmp_path,
        "studies.sqlite-wal",
        "studies.sqlite-shm",
        ".server.lock",
        ".DS_Store",
        ".cache/b.nii.gz",
        "notes.txt",
    )
    put(tmp_path, ".a.nii.gz.0123.tmp", "Thumbs.db", "ward/readme.md", "ward/.hidden.nii.gz", "report.PDF")
    assert scans(tmp_path) == {"a": "a.nii.gz"}
    assert find_scans(tmp_path).skipped == {}


@pytest.mark.parametrize(("name", "reason"), [
    ("a.nii.bz2", "neither DICOM nor a volume"), ("a.zip", "neither DICOM nor a volume"), ("a.mgz", "neither DICOM"),
    ("README", "neither DICOM"), ("slice.dcm", "neither DICOM nor a volume"), ("lone.raw", "neither DICOM"),
    ("a.seg.nrrd", "a segmentation, not a scan"), ("A.SEG.NRRD", "a segmentation, not a scan"),
    ("(1).nii.gz", "cannot be used as the id of a scan"), ("a .nii.gz", "cannot be used as the id of a scan"),
    ("x" * 129 + ".nii", "up to 128 characters"), ("ward/labels", "labels are read from the folder labels directly"),
    ("con.nii.gz", "cannot be used as the id of a scan"), ("labels_old.zip", "neither DICOM nor a volume"),
])  # fmt: skip
def test_what_is_no_scan_is_listed_with_the_reason(tmp_path, name, reason):
    put(tmp_path, f"{name}/x.nii.gz" if name.endswith("labels") else name, "good.nii.gz")
    found = find_scans(tmp_path)
    assert list(found.scans) == ["good"]
    assert list(found.skipped) == [name]
    assert reason in found.skipped[name]


def test_an_empty_file_is_no_scan(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    assert find_scans(tmp_path).skipped == {"a.nii.gz": "an empty file"}


def test_voxels_of_a_header_belong_to_it(tmp_path):
    put(tmp_path, "a.mhd", "a.raw", "B.MHD", "b.zraw", "c.nhdr", "c.raw.gz", "d.raw")
    assert scans(tmp_path) == {"B": "B.MHD", "a": "a.mhd", "c": "c.nhdr"}
    assert list(find_scans(tmp_path).skipped) == ["d.raw"]


# Ids


@pytest.mark.parametrize("twin", ["a.nrrd", "a.NII.GZ", "a.mhd", "a.nii"])
@pytest.mark.parametrize("folder", ["", "ward/"])
def test_of_two_scans_of_one_name_neither_is_served(tmp_path, folder, twin):
    put(tmp_path, f"{folder}a.nii.gz", f"{folder}{twin}", "b.nii.gz")
    found = find_scans(tmp_path)
    assert list(found.scans) == ["b"]
    assert set(found.skipped) == {f"{folder}a.nii.gz", f"{folder}{twin}"}
    for path, reason in found.skipped.items():
        assert (set(found.skipped) - {path}).pop() in reason


def test_a_file_directly_in_the_folder_keeps_its_id_whatever_comes_deeper(tmp_path):
    put(tmp_path, "ward__a.nii.gz", "series.nii.gz", "b.nii.gz", "B.nii")
    before = scans(tmp_path)
    put(tmp_path, "ward/a.nii.gz", "Ward/A.nii.gz")
    put_slices(tmp_path / "series")
    assert scans(tmp_path) == before
    skipped = find_scans(tmp_path).skipped
    assert "like Ward/A.nii.gz, ward__a.nii.gz" in skipped["ward/a.nii.gz"]
    assert "like series.nii.gz" in skipped["series"]
    assert len(skipped) == 3


def test_names_that_differ_in_case_alone_are_not_told_apart_deeper(tmp_path):
    put(tmp_path, "x/a.nii.gz", "X/A.nrrd", "y/a.nii.gz")
    assert list(scans(tmp_path)) == ["y__a"]


NAMES = st.text(st.sampled_from("ab_. +(ü-"), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=8), st.data())
def test_every_scan_is_served_or_listed_and_keeps_its_id_when_others_leave(tmp_path_factory, paths, data):
    folder = tmp_path_factory.mktemp("studies")
    there = {"/".join(parts) + ".nii.gz" for parts in paths if not any(part in (".", "..") for part in parts)}
    put(folder, *there)
    found = find_scans(folder)
    served = {path.relative_to(folder).as_posix() for path in found.scans.values()}
    hidden = {path for path in there if any(part.startswith(".") for part in path.split("/"))}
    assert served | found.skipped.keys() >= there - hidden
    assert not served & found.skipped.keys()
    for image in found.scans:
        assert checked_name("an id", image) == image
    for path in data.draw(st.sets(st.sampled_from(sorted(there)))) if there else ():
        (folder / path).unlink()
    kept = {image: path for image, path in found.scans.items() if path.exists()}
    assert kept.items() <= find_scans(folder).scans.items()


# DICOM


def test_several_series_in_one_folder_are_skipped(tmp_path):
    put_slices(tmp_path / "mixed")
    put_slices(tmp_path / "mixed", 2, name="other{}")
    put_slices(tmp_path / "pure")
    assert scans(tmp_path) == {"pure": "pure"}
    assert find_scans(tmp_path).skipped == {"mixed": "holds 2 DICOM series; put each into a folder of its own"}
    (tmp_path / "mixed" / "other0").unlink()
    (tmp_path / "mixed" / "other1").unlink()
    assert scans(tmp_path) == {"mixed": "mixed", "pure": "pure"}


def test_slices_directly_in_the_studies_are_said_once(tmp_path):
    put_slices(tmp_path, 20)
    put_slices(tmp_path / "a")
    assert scans(tmp_path) == {"a": "a"}
    (reason,) = find_scans(tmp_path).skipped.values()
    assert reason == "one of 20 DICOM files directly in the studies; put each series into a folder of its own"


def test_volumes_and_folders_beside_slices_are_scans_of_their_own(tmp_path):
    put_slices(tmp_path / "a", name="1.2.840.{}")
    put_slices(tmp_path / "a" / "deep")
    put(tmp_path, "a/converted.nii.gz", "a/DICOMDIR")
    assert scans(tmp_path) == {"a": "a", "a__converted": "a/converted.nii.gz", "a__deep": "a/deep"}
    assert not find_scans(tmp_path).skipped


def test_a_damaged_series_is_skipped(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "IM0").write_bytes(b"\0" * 128 + b"DICM" + b"\x08\0")
    assert find_scans(tmp_path).skipped == {"a": "its DICOM files cannot be read, or belong to no series"}


def test_a_slice_that_changes_is_read_again(tmp_path):
    put_slices(tmp_path / "a")
    assert scans(tmp_path) == {"a": "a"}
    one = pydicom.dcmread(tmp_path / "a" / "IM0001")
    one.SeriesInstanceUID = generate_uid()
    one.save_as(tmp_path / "a" / "IM0001")
    assert scans(tmp_path) == {}


# Links


@needs_links
def test_links_to_scans_are_served_and_others_said(tmp_path):
    outside, studies = tmp_path / "outside", tmp_path / "studies"
    put(outside, "scan.nii.gz", "more/deep.nii.gz")
    put_slices(outside / "series")
    studies.mkdir()
    for name, target in (
        ("file.nii.gz", "scan.nii.gz"),
        ("ct", "series"),
        ("dead.nii.gz", "gone.nii.gz"),
        ("all", "."),
    ):
        (studies / name).symlink_to(outside / target)
    (studies / "self.nii.gz").symlink_to("self.nii.gz")
    (studies / "ward").mkdir()
    (studies / "ward" / "up").symlink_to(studies)
    found = find_scans(studies)
    assert scans(studies) == {"ct": "ct", "file": "file.nii.gz"}
    behind = "a link to a folder without DICOM slices or frames; link its scans one by one"
    assert found.skipped == {
        "all": behind, "dead.nii.gz": "a link to nothing", "self.nii.gz": "a link to nothing", "ward/up": behind
    }  # fmt: skip


@needs_links
def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.nii.gz")
    os.mkfifo(tmp_path / "slice")
    assert set(find_scans(tmp_path).skipped.values()) == {"neither a file nor a folder"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="a superuser may read everything")
def test_what_may_not_be_read_is_said(tmp_path):
    put(tmp_path, "closed/a.nii.gz", "b")
    (tmp_path / "closed").chmod(0)
    (tmp_path / "b").chmod(0)
    try:
        assert set(find_scans(tmp_path).skipped) == {"closed", "b"}
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_folder_that_is_away_is_an_error(tmp_path):
    with pytest.raises(InputError, match="away: cannot be read"):
        find_scans(tmp_path / "away")


def test_pictures_are_images_and_a_folder_of_nothing_else_is_a_clip(tmp_path):
    images = {"a": "a.png", "b": "b.JPG", "c": "c.tif", "images__d": "images/d.png", "notes__e": "notes/e.png"}
    put(tmp_path, *images.values(), "notes/e.csv", "sweep/10.png", "sweep/9.png")
    assert scans(tmp_path) == {**images, "sweep": "sweep"}


def test_beside_volumes_pictures_are_previews_unless_they_were_images_before(tmp_path):
    put(tmp_path, "scan.nii.gz", "scan.png", "old.png")
    assert scans(tmp_path) == {"scan": "scan.nii.gz"}
    found = find_scans(tmp_path, known={"old.png"})
    assert sorted(found.scans) == ["old"]  # a preview of scan.nii.gz would have its id
    assert "scan.png" in found.skipped


def test_a_damaged_dicom_file_hides_neither_pictures_nor_scans(tmp_path):
    put(tmp_path, "a.png", "b.png")
    put_slices(tmp_path, 1)
    file = tmp_path / "IM0000"
    file.write_bytes(file.read_bytes().replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00AT"))  # cannot be unpacked
    found = find_scans(tmp_path)
    assert sorted(found.scans) == ["a", "b"]
    assert "put each series into a folder of its own" in found.skipped["IM0000"]


def test_each_ultrasound_file_is_a_scan_of_its_own(tmp_path):
    us = "1.2.840.10008.5.1.4.1.1.6.1"
    put_slices(tmp_path, count=2, name="us{}.dcm", kind=us)
    put_slices(tmp_path / "visit", count=2, name="{}", kind=us)
    put_slices(tmp_path / "alone", count=1, kind=us)
    put(tmp_path, "picture.png")  # an ultrasound file beside it is no volume
    assert scans(tmp_path) == {
        "picture": "picture.png", "us0": "us0.dcm", "us1": "us1.dcm", "visit__0": "visit/0", "visit__1": "visit/1",
        "alone": "alone",
    }  # fmt: skip


@needs_links
def test_a_link_to_a_folder_of_frames_is_a_clip(tmp_path):
    put(tmp_path / "elsewhere", "0.png", "1.png")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "sweep").symlink_to(tmp_path / "elsewhere")
    assert scans(tmp_path / "studies") == {"sweep": "sweep"}
