from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server import files


def write(path: Path, content: bytes, age_s: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for entry in (path, path.parent):
        os.utime(entry, (time.time() - age_s, time.time() - age_s))
    return path


def test_a_gz_is_unzipped_beside_itself_once(tmp_path):
    zipped = write(tmp_path / "a.nii.gz", gzip.compress(b"voxels"))
    plain = files.unzip(zipped)
    assert (plain.name, plain.read_bytes()) == ("a.nii", b"voxels")
    before = plain.stat().st_mtime_ns
    assert files.unzip(zipped).stat().st_mtime_ns == before


def test_a_newer_gz_replaces_what_was_unzipped(tmp_path):
    zipped = write(tmp_path / "a.nii.gz", gzip.compress(b"old"), age_s=60)
    os.utime(files.unzip(zipped), (0, 0))
    write(zipped, gzip.compress(b"new"))
    assert files.unzip(zipped).read_bytes() == b"new"


def test_a_file_that_is_not_zipped_stays(tmp_path):
    plain = write(tmp_path / "a.nrrd", b"voxels")
    assert files.unzip(plain) == plain


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", gzip.compress(bytes(10000))[:-20], b"\x1f\x8b\x08" + bytes(50)],
    ids=["no gzip", "cut short", "zeros"],  # workers must agree on names, and gzip writes the time
)
def test_a_damaged_gz_leaves_nothing(tmp_path, content):
    zipped = write(tmp_path / "a.nii.gz", content)
    with pytest.raises(ServerError, match=r"a\.nii\.gz arrived damaged"):
        files.unzip(zipped)
    assert list(tmp_path.iterdir()) == [zipped]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_said_so_and_leaves_nothing(tmp_path, monkeypatch):
    zipped = write(tmp_path / "a.nii.gz", gzip.compress(bytes(10**6)))

    def on_full_disk(prefix, **folder):
        path = folder["dir"] / f"{prefix}x"
        path.touch()
        return os.open("/dev/full", os.O_WRONLY), str(path)

    monkeypatch.setattr(files.tempfile, "mkstemp", on_full_disk)
    with pytest.raises(ServerError, match="The disk of this computer is full: make room in"):
        files.unzip(zipped)
    assert list(tmp_path.iterdir()) == [zipped]


def test_the_downloads_used_longest_ago_go_first(tmp_path):
    for name, age in {"old": 9000, "older": 9900, "new": 5000}.items():
        write(tmp_path / "results" / name / "map.nii", bytes(100), age)
    write(tmp_path / "scans" / "scan.nii", bytes(100), 10000)
    files.trim([tmp_path / "results", tmp_path / "scans", tmp_path / "missing"], limit=250)
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["new", "old"]
    assert list((tmp_path / "scans").iterdir()) == []


def test_downloads_of_the_last_minutes_stay_even_beyond_the_limit(tmp_path):
    write(tmp_path / "results" / "now" / "map.nii", bytes(100))
    files.trim([tmp_path / "results"], limit=1)
    assert (tmp_path / "results" / "now" / "map.nii").is_file()
