"""Preprocessed cases on disk: what comes back is what was kept, or nothing does."""

from __future__ import annotations

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from uncertaintyseg.errors import InputError, StorageError
from uncertaintyseg.training.case_store import UNUSED_DAYS, CaseStore
from uncertaintyseg.training.patches import StructureVoxels

KEY, OTHER = "0" * 32, "a" * 32
AFFINE = np.diag([1.5, 2, 3, 1.0])


def case(seed: int = 0, top: int = 3) -> dict:
    rng = np.random.default_rng(seed)
    image = MetaTensor(torch.from_numpy(rng.normal(size=(2, 7, 6, 5)).astype(np.float32)), affine=AFFINE)
    label = MetaTensor(torch.from_numpy(rng.integers(-1, top + 1, (1, 7, 6, 5)).astype(np.float32)), affine=AFFINE)
    return StructureVoxels()({"image": image, "label": label})


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name]))
        and torch.equal(one[name].affine, other[name].affine)
        for name in ("image", "label")
    )


@pytest.fixture
def store(tmp_path) -> CaseStore:
    return CaseStore(tmp_path / "cases")


def test_a_case_comes_back_bit_for_bit(store):
    kept = case()
    store.keep(KEY, kept)
    found = store.read(KEY)
    assert same(found, {name: kept[name] for name in ("image", "label")})
    assert store.has(KEY)
    assert store.check(KEY)
    assert sorted(path.name for path in store.folder.iterdir()) == [KEY]


@pytest.mark.parametrize(("top", "kind"), [(3, torch.int8), (127, torch.int8), (200, torch.int16)])
def test_for_patches_it_has_the_places_of_its_structures_and_a_small_label(store, top, kind):
    kept = case(top=top)
    store.keep(KEY, kept)
    found = store.read(KEY, patches=True)
    assert found["label"].dtype == kind
    assert torch.equal(found["label"].float().as_tensor(), kept["label"].as_tensor())
    assert found["voxels"].keys() == kept["voxels"].keys()
    assert all(torch.equal(found["voxels"][class_id], kept["voxels"][class_id]) for class_id in kept["voxels"])


@pytest.mark.parametrize("value", [0.5, 1e6])
def test_a_label_of_other_numbers_stays_as_it_is(store, value):
    kept = case()
    kept["label"][0, 0, 0, 0] = value
    store.keep(KEY, kept)
    assert store.read(KEY, patches=True)["label"].dtype == torch.float32
    assert store.read(KEY)["label"][0, 0, 0, 0] == value


def test_a_case_without_structures_and_without_a_place_in_space_comes_back(store):
    bare = {"image": torch.rand(1, 4, 4, 4), "label": torch.zeros(1, 4, 4, 4, dtype=torch.int64), "voxels": {}}
    store.keep(KEY, bare)
    found = store.read(KEY, patches=True)
    assert found["voxels"] == {}
    assert torch.equal(found["image"], bare["image"])
    assert not isinstance(found["image"], MetaTensor)
    assert store.read(KEY)["label"].dtype == torch.int64


def test_what_a_reader_changes_is_not_changed_on_disk(store):
    store.keep(KEY, case())
    found = store.read(KEY)
    found["image"] += 1
    assert store.check(KEY)
    assert same(store.read(KEY), {name: case()[name] for name in ("image", "label")})


def test_an_entry_that_is_deleted_stays_readable_to_who_has_it(store):
    store.keep(KEY, case())
    found = store.read(KEY)
    for path in (store.folder / KEY).iterdir():
        path.unlink()
    assert torch.equal(found["image"].as_tensor(), case()["image"].as_tensor())
    assert store.read(KEY) is None


FILES = ["about.json", "image.npy", "image_affine.npy", "label.npy", "label_affine.npy", "voxels.npy"]


def test_an_entry_has_these_files(store):
    store.keep(KEY, case())
    assert sorted(path.name for path in (store.folder / KEY).iterdir()) == FILES


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes({
            "empty": b"",
            "cut": data[: len(data) - 3],
            "zeros": bytes(len(data)),
            "one bit": data[:-2] + bytes([data[-2] ^ 1]) + data[-1:],
        }[how])  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["gone", "empty", "cut", "zeros", "one bit"])
def test_a_damaged_entry_is_found_out_and_made_anew(store, name, how):
    store.keep(KEY, case())
    damage(store.folder / KEY / name, how)
    again = CaseStore(store.folder)
    assert not again.check(KEY)
    if how != "one bit" and how != "zeros":
        assert again.read(KEY, patches=True) is None
    again.keep(KEY, case())
    assert again.check(KEY)
    assert same(again.read(KEY), {name: case()[name] for name in ("image", "label")})
    assert sorted(path.name for path in store.folder.iterdir()) == [KEY]


def test_a_file_of_objects_is_not_unpickled(store):
    store.keep(KEY, case())
    np.save(store.folder / KEY / "image.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert store.read(KEY) is None
    assert not store.check(KEY)


class Full:
    """A disk that is full from the n-th step on: folders, files, blocks, what is forced onto the disk, and names."""

    def __init__(self, monkeypatch, number: int, code: int = errno.ENOSPC) -> None:
        self.number, self.code, self.count = number, code, 0
        real_open = Path.open

        def opened(path: Path, mode: str = "r", *rest, **options):
            file = real_open(path, mode, *rest, **options)
            if "x" in mode or "w" in mode:
                self.step()
                return Written(file, self)
            return file

        monkeypatch.setattr(Path, "open", opened)
        for owner, name in ((Path, "mkdir"), (Path, "rename"), (os, "fsync")):
            monkeypatch.setattr(owner, name, self.before(getattr(owner, name)))

    def before(self, real):
        def run(*arguments, **options):
            self.step()
            return real(*arguments, **options)

        return run

    def step(self) -> None:
        self.count += 1
        if self.count >= self.number:
            raise OSError(self.code, os.strerror(self.code))


class Written:
    """A file that takes half of what is written when the disk becomes full."""

    def __init__(self, file, disk: Full) -> None:
        self.file, self.disk = file, disk
        self.flush, self.fileno = file.flush, file.fileno

    def write(self, block) -> int:
        self.file.write(block[: len(block) // 2])
        self.disk.step()
        return self.file.write(block[len(block) // 2 :])

    def __enter__(self):
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def kept_on(store: CaseStore, number: int, code: int = errno.ENOSPC) -> StorageError | None:
    """Keep a case on a disk that is full from a step on; how it was refused."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Full(patch, number, code)
        try:
            store.keep(KEY, case())
        except StorageError as error:
            return error
        finally:
            assert disk.count >= number
    return None


def steps(folder: Path) -> int:
    with pytest.MonkeyPatch.context() as patch:
        disk = Full(patch, 10**9)
        CaseStore(folder).keep(KEY, case())
    return disk.count


def test_a_disk_that_is_full_at_any_step_leaves_nothing_behind_and_what_was_there_alone(tmp_path):
    count = steps(tmp_path / "dry")
    assert count >= 30  # three folders, six files, a name
    refused = 0
    for number in range(1, count + 1):
        store = CaseStore(tmp_path / f"full_{number}")
        store.keep(OTHER, case(1))
        error = kept_on(store, number)
        if error:
            refused += 1
            assert all(words in str(error) for words in (str(store.folder), "--cache-folder", "--cache none"))
            assert [path.name for path in store.folder.iterdir()] == [OTHER]
        assert store.has(KEY) == store.check(KEY) == (error is None)
        assert store.check(OTHER)
        store.keep(KEY, case())
        assert store.check(KEY)
    assert refused >= count - 2  # folders are forced onto the disk as far as they can be


def test_a_disk_that_is_full_when_a_damaged_entry_is_replaced_leaves_no_sound_one_behind(tmp_path):
    count = steps(tmp_path / "dry")
    for number in range(1, count + 1):
        store = CaseStore(tmp_path / f"full_{number}")
        store.keep(KEY, case())
        damage(store.folder / KEY / "image.npy", "one bit")
        error = kept_on(store, number)
        assert store.check(KEY) == (error is None)
        assert not [path for path in store.folder.iterdir() if path.name != KEY]
        store.keep(KEY, case())
        assert store.check(KEY)


def test_a_quota_is_a_full_disk_too_and_another_mistake_is_named(tmp_path):
    assert "the disk is full" in str(kept_on(CaseStore(tmp_path / "quota"), 5, errno.EDQUOT))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"file: preprocessed cases cannot be kept there .*--cache-folder") as found:
        CaseStore(tmp_path / "file").keep(KEY, case())
    assert not isinstance(found.value, StorageError)


def test_many_who_write_and_read_an_entry_at_once_share_it(store):
    wanted = {name: case()[name] for name in ("image", "label")}

    def work(number: int) -> bool:
        mine = CaseStore(store.folder)
        if number % 3 == 0:
            mine.keep(KEY, case())
        found = mine.read(KEY)
        return found is None or same(found, wanted)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))
    assert store.check(KEY)
    assert [path.name for path in store.folder.iterdir()] == [KEY]


def test_what_nobody_used_for_long_goes_and_what_is_wanted_stays(store):
    for key in (KEY, OTHER, "b" * 32):
        store.keep(key, case())
    (store.folder / "mine").mkdir()
    scratch = [store.folder / f".writing-{name}" for name in ("old", "new")]
    long_ago, lately = (time.time() - days * 24 * 3600 for days in (UNUSED_DAYS + 1, UNUSED_DAYS - 1))
    for folder in scratch:
        folder.mkdir()
    os.utime(scratch[0], (long_ago, long_ago))
    for key, when in ((KEY, long_ago), (OTHER, long_ago), ("b" * 32, lately)):
        os.utime(store.folder / key / "about.json", (when, when))
    store.clean(keep=[OTHER])
    assert sorted(path.name for path in store.folder.iterdir()) == [".writing-new", OTHER, "b" * 32, "mine"]


def test_checking_an_entry_counts_as_using_it(store):
    store.keep(KEY, case())
    os.utime(store.folder / KEY / "about.json", (0, 0))
    assert store.check(KEY)
    store.clean()
    assert store.has(KEY)


def test_the_size_is_that_of_all_files_of_entries(store):
    assert store.size() == (0, 0)
    store.keep(KEY, case())
    store.keep(OTHER, case(1))
    (store.folder / "else").write_bytes(b"1234")
    files = [file for key in (KEY, OTHER) for file in (store.folder / key).iterdir()]
    assert store.size() == (sum(file.stat().st_size for file in files), 2)
