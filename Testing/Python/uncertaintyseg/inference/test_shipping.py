"""Cases as bytes: what arrives is what was sent, and messages name the sender's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.shipping import check_seen, shipped


@dataclass(frozen=True)
class Scan:
    id: str
    image: list[Path]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("images/a_0000.nii.gz", "images/a_0001.nii.gz", "labels/a/liver.nii.gz", "labels/a/spleen.nii.gz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def test_all_files_of_a_case_arrive_in_their_places(folder):
    case = Case("a", folder / "images" / "a_0000.nii.gz", folder / "labels" / "a")
    sent = shipped(case, 2)
    assert sorted(sent.files) == [
        "images/a_0000.nii.gz", "images/a_0001.nii.gz", "labels/a/liver.nii.gz", "labels/a/spleen.nii.gz",
    ]  # fmt: skip
    with sent.unpacked() as there:
        assert there.id == "a"
        assert not there.image.is_relative_to(folder)
        assert there.image.read_bytes() == b"images/a_0000.nii.gz"
        assert there.image.with_name("a_0001.nii.gz").read_bytes() == b"images/a_0001.nii.gz"
        assert sorted(path.name for path in there.label.iterdir()) == ["liver.nii.gz", "spleen.nii.gz"]
        check_seen(there)
        place = there.image
    assert not place.exists()


def test_a_detached_header_brings_its_voxels_and_the_files_of_channels_keep_their_order(tmp_path):
    (tmp_path / "b.nhdr").write_text("NRRD0004\ndata file: b.raw\n\n")
    (tmp_path / "b.raw").write_bytes(b"voxels")
    with shipped(Case("b", tmp_path / "b.nhdr", None), 1).unpacked() as there:
        assert there.image.with_name("b.raw").read_bytes() == b"voxels"
    files = [tmp_path / "t1.nii", tmp_path / "flair.nii"]
    for file in files:
        file.write_bytes(file.name.encode())
    with shipped(Scan("c", files), 2).unpacked() as there:
        assert [path.read_bytes() for path in there.image] == [b"t1.nii", b"flair.nii"]


def test_what_goes_wrong_there_is_said_of_the_files_here(folder):
    case = Case("a", folder / "images" / "a_0000.nii.gz", None)
    with pytest.raises(InputError) as caught, shipped(case, 2).unpacked() as there:
        raise InputError(f"{there.image}: not a readable NIfTI file")
    assert str(caught.value) == f"{folder / 'images' / 'a_0000.nii.gz'}: not a readable NIfTI file"


def test_a_case_that_is_not_whole_is_not_sent(folder):
    (folder / "images" / "a_0001.nii.gz").unlink()
    with pytest.raises(InputError, match=r"a_0001\.nii\.gz"):
        shipped(Case("a", folder / "images" / "a_0000.nii.gz", None), 2)


def test_a_node_says_which_file_it_does_not_see(tmp_path):
    with pytest.raises(InputError, match=r"gone\.nii\.gz: node .* does not see it.*--scans bytes"):
        check_seen(Case("a", tmp_path / "gone.nii.gz", None))
