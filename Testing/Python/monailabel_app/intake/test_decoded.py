"""Pictures, frames and ultrasound files of the studies become NIfTI, in a process that cannot take much."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID, RLELossless

from monailabel_app.intake import decoded
from monailabel_app.intake.decoded import Decoded, needs_decoding
from monailabel_app.jobs.train import Train
from Testing.Python.uncertaintyseg import flat, ultrasound_files
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.time_axis import is_clip, spacing_known
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.content import content_hash

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot limit a process")
CINE = np.random.default_rng(0).integers(0, 255, (3, 20, 24), np.uint8)


@pytest.fixture
def keeper(tmp_path):
    return Decoded(tmp_path / "kept", 10**9)


def same(one, other):
    np.testing.assert_array_equal(one[0].numpy(), other[0].numpy())
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-6)
    assert (is_clip(one), spacing_known(one)) == (is_clip(other), spacing_known(other))


def test_what_is_decoded_is_what_the_library_reads(keeper, tmp_path):
    flat.write_pictures(tmp_path, [0])
    flat.write_clip(tmp_path, "clip", [1, 2, 3])
    colours = np.random.default_rng(1).integers(0, 255, (20, 24, 3), np.uint8)
    flat.write_png(tmp_path / "colours.png", colours)
    cine = ultrasound_files.write(tmp_path / "cine.dcm", CINE, regions=[ultrasound_files.region()])
    packed = ultrasound_files.write(tmp_path / "packed.dcm", CINE[:1])
    data = pydicom.dcmread(packed)
    data.compress(RLELossless)
    data.save_as(packed)
    scans = [tmp_path / "images" / "case_0.png", tmp_path / "images" / "clip", tmp_path / "colours.png", cine, packed]
    assert all(map(needs_decoding, scans))
    found = keeper.all_of(scans)
    for scan, path in zip(scans, found, strict=True):
        same(read_scan(path), read_scan(scan))
        assert keeper.notes(scan) == decoded.scan_notes(path)
    before = [path.stat().st_mtime_ns for path in found]
    assert keeper.all_of(scans) == found
    assert [path.stat().st_mtime_ns for path in found] == before  # nothing is decoded twice


def test_a_list_after_a_start_reads_no_content_and_still_knows_a_clip(keeper, tmp_path, monkeypatch):
    cine = ultrasound_files.write(tmp_path / "cine.dcm", CINE, regions=[ultrasound_files.region()])
    assert keeper.notes(cine) == {}  # nobody has decoded it
    kept = keeper.of(cine)
    read = []
    monkeypatch.setattr(decoded, "content_hash", lambda *files: read.append(files) or content_hash(*files))
    again = Decoded(tmp_path / "kept", 10**9)
    assert again.notes(cine) == keeper.notes(cine) == decoded.scan_notes(kept) == {"axis": "time"}
    assert read == []
    data = bytearray(cine.read_bytes())
    data[-10] ^= 1
    cine.write_bytes(data)
    assert again.notes(cine) == {}  # another file, of which nothing is known yet
    assert again.of(cine) != kept
    assert again.notes(cine) == {"axis": "time"}
    (tmp_path / "kept" / "sources.json").write_text("[damaged")
    assert Decoded(tmp_path / "kept", 10**9).notes(cine) == {}


def test_frames_of_other_names_are_another_clip(keeper, tmp_path):
    flat.write_clip(tmp_path, "clip", [1, 2])
    clip = tmp_path / "images" / "clip"
    first = keeper.of(clip)
    (clip / "0.png").rename(clip / "2.png")  # it is the last frame now
    second = keeper.of(clip)
    np.testing.assert_array_equal(read_scan(second)[0].numpy(), read_scan(first)[0].numpy()[..., ::-1])


def test_what_needs_no_decoder_stays_as_it_is(keeper, tmp_path):
    write_volume(tmp_path / "v.nii.gz", np.zeros((4, 4, 4)), np.eye(4))
    assert not needs_decoding(tmp_path / "v.nii.gz")
    assert keeper.of(tmp_path / "v.nii.gz") == tmp_path / "v.nii.gz"


def test_one_that_cannot_be_decoded_is_named_and_the_others_are(keeper, tmp_path):
    flat.write_pictures(tmp_path, [0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    flat.write_png(tmp_path / "sizes" / "0.png", CINE[0])
    flat.write_png(tmp_path / "sizes" / "1.png", CINE[0, :10])
    data = encapsulate([b"no such stream"])
    video = ultrasound_files.write(tmp_path / "v.dcm", CINE[:1], syntax=UID("1.2.840.10008.1.2.4.102"), data=data)
    good = tmp_path / "images" / "case_0.png"
    bad, found, sizes, syntax = keeper.all_of([tmp_path / "bad.png", good, tmp_path / "sizes", video])
    assert isinstance(bad, InputError)
    assert "bad.png: not a readable picture" in str(bad)
    assert "1.png: 24 x 10 pixels, the first frame has 24 x 20" in str(sizes)
    assert "v.dcm: its pixels are MPEG-4 AVC/H.264 High Profile / Level 4.1" in str(syntax).replace("  ", " ")
    same(read_scan(found), read_scan(good))
    assert keeper.usable({"a": tmp_path / "bad.png", "b": good}) == {"b": found}
    with pytest.raises(InputError, match="bad"):
        keeper.usable({"a": tmp_path / "bad.png"})


def test_a_decoder_that_takes_too_much_takes_nobody_with_it(keeper, tmp_path, monkeypatch):
    flat.write_pictures(tmp_path, [0])
    large = flat.write_png(tmp_path / "large.png", np.zeros((6000, 6000), np.uint8))
    monkeypatch.setattr(decoded, "MAX_VOXELS", 10**6)
    found = keeper.all_of([large, tmp_path / "images" / "case_0.png"])
    assert "large.png: cannot be decoded within this server's limits" in str(found[0])
    assert found[1].is_file()


def test_what_took_too_much_is_not_decoded_again_until_it_is_touched(keeper, tmp_path, monkeypatch):
    large = flat.write_png(tmp_path / "large.png", np.eye(2000, dtype=np.uint8))
    monkeypatch.setattr(decoded, "MAX_VOXELS", 10**6)
    runs, run = [], decoded.run_limited
    monkeypatch.setattr(decoded, "run_limited", lambda *a, **limits: (runs.append(a), run(*a, **limits)))
    errors = [str(keeper.all_of([large])[0]) for _ in range(3)]
    with pytest.raises(InputError, match=r"large\.png: cannot be decoded within"):
        keeper.of(large)
    assert len(set(errors)) == 1
    assert len(runs) == 1
    os.utime(large, (1, 1))
    monkeypatch.setattr(decoded, "MAX_VOXELS", 2**29)
    assert read_scan(keeper.of(large)).shape == (1, 2000, 2000, 1)
    assert len(runs) == 2


def test_what_failed_for_want_of_room_is_tried_again(keeper, tmp_path, monkeypatch):
    large = flat.write_png(tmp_path / "large.png", np.eye(2000, dtype=np.uint8))
    monkeypatch.setattr(decoded, "MAX_VOXELS", 10**6)
    used = decoded.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: used._replace(free=0))
    assert isinstance(keeper.all_of([large])[0], InputError)
    monkeypatch.setattr(decoded, "MAX_VOXELS", 2**29)
    assert keeper.of(large).is_file()


def test_a_link_is_decoded_by_its_own_name(keeper, tmp_path):
    flat.write_png(tmp_path / "store.png", CINE[0]).rename(tmp_path / "0f3a")
    (tmp_path / "linked.png").symlink_to(tmp_path / "0f3a")
    same(read_scan(keeper.of(tmp_path / "linked.png")), read_scan(tmp_path / "linked.png"))


def test_what_nifti_cannot_hold_or_is_gone_is_named_and_the_others_are_decoded(keeper, tmp_path):
    flat.write_pictures(tmp_path, [0])
    wide = flat.write_png(tmp_path / "wide.png", np.tile(np.arange(256, dtype=np.uint8), (2, 130)))
    gone, found, large = keeper.all_of([tmp_path / "gone.png", tmp_path / "images" / "case_0.png", wide])
    assert "gone.png: no such file" in str(gone)
    assert found.is_file()
    assert "wide.png: 33280 pixels along an axis" in str(large)


def test_while_one_is_decoded_what_is_there_is_given(keeper, tmp_path):
    flat.write_pictures(tmp_path, [0])
    write_volume(tmp_path / "v.nii.gz", np.zeros((4, 4, 4)), np.eye(4))
    found = keeper.of(tmp_path / "images" / "case_0.png")
    with keeper._lock, ThreadPoolExecutor() as pool:
        others = [pool.submit(keeper.of, path) for path in (tmp_path / "images" / "case_0.png", tmp_path / "v.nii.gz")]
        assert [other.result(60) for other in others] == [found, tmp_path / "v.nii.gz"]


def test_what_changes_meanwhile_is_not_kept_as_what_it_was(keeper, tmp_path, monkeypatch):
    picture = flat.write_png(tmp_path / "a.png", CINE[0])
    run = decoded.run_limited

    def changing(*arguments, **limits):
        flat.write_png(picture, CINE[1])
        run(*arguments, **limits)

    monkeypatch.setattr(decoded, "run_limited", changing)
    with pytest.raises(InputError, match=r"a\.png: it changed while it was decoded"):
        keeper.of(picture)
    np.testing.assert_array_equal(read_scan(keeper.of(picture))[0, ..., 0].numpy(), CINE[1].T)


def test_what_is_to_be_removed_is_not_kept(keeper, tmp_path):
    picture = flat.write_png(tmp_path / "a.png", CINE[0])
    found = keeper.of(picture)
    keeper.forget(picture)
    assert not found.parent.exists()
    keeper.forget(tmp_path / "none.png")  # neither there nor decoded


def test_where_processes_cannot_be_limited_nothing_is_decoded(keeper, tmp_path, monkeypatch):
    flat.write_pictures(tmp_path, [0])
    monkeypatch.setattr(decoded, "HAS_LIMITS", False)
    with pytest.raises(InputError, match=r"case_0\.png: is decoded on Linux alone"):
        keeper.of(tmp_path / "images" / "case_0.png")


def test_what_a_killed_server_left_goes(tmp_path):
    flat.write_pictures(tmp_path, [0])
    keeper = Decoded(tmp_path / "kept", 10**9)
    for name, age in ((".decoding-old", 7200), (".decoding-new", 0)):
        (tmp_path / "kept" / name).mkdir()
        (tmp_path / "kept" / name / "0.npy").write_bytes(b"left")
        os.utime(tmp_path / "kept" / name, 2 * (time.time() - age,))
    keeper.of(tmp_path / "images" / "case_0.png")
    assert [path.name for path in (tmp_path / "kept").glob(".*")] == [".decoding-new"]


def test_a_damaged_dicom_file_is_no_ultrasound(tmp_path):
    ultrasound_files.write(tmp_path / "a.dcm", CINE, SOPClassUID="1.2.3")
    assert not needs_decoding(tmp_path / "a.dcm")
    data = (tmp_path / "a.dcm").read_bytes()
    spoilt = data.replace(b"\x08\x00\x16\x00UI", b"\x08\x00\x16\x00AT")  # which pydicom cannot unpack
    (tmp_path / "b.dcm").write_bytes(spoilt)
    assert spoilt != data
    assert not needs_decoding(tmp_path / "b.dcm")


def test_what_was_not_used_for_long_goes_beyond_the_limit(tmp_path, monkeypatch):
    flat.write_pictures(tmp_path, [0, 1])
    keeper = Decoded(tmp_path / "kept", 1)
    first = keeper.of(tmp_path / "images" / "case_0.png")
    monkeypatch.setattr(decoded, "_IN_USE_SECONDS", 0.0)
    keeper.of(tmp_path / "images" / "case_1.png")
    assert not first.exists()


def test_what_a_job_reads_stays_however_long_that_takes(tmp_path, monkeypatch):
    flat.write_pictures(tmp_path, [0, 1, 2])
    keeper = Decoded(tmp_path / "kept", 1)
    read, other = (keeper.of(tmp_path / "images" / f"case_{number}.png") for number in (0, 1))
    keeper.in_use = lambda: Train("bundle", (("a", str(read), "label", (), False),), (), "models").files
    monkeypatch.setattr(decoded, "_IN_USE_SECONDS", 0.0)
    keeper.of(tmp_path / "images" / "case_2.png")
    assert read.is_file()
    assert not other.exists()
