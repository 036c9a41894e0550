"""Where preprocessed cases are held, and when those on disk are still the same."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, Bundle
from uncertaintyseg.training import case_cache
from uncertaintyseg.training.case_cache import Held, case_keys, choose, gigabytes, hold, room_in
from uncertaintyseg.training.case_sizes import CaseSize, case_size
from uncertaintyseg.training.variant import with_head

GB = 10**9
SIZE = CaseSize(memory=48 * GB, disk=30 * GB)
HERE = Path("cases")


def test_cases_are_held_in_memory_up_to_half_of_what_is_free():
    kind, why = choose("auto", SIZE, 30 * GB, 96 * GB, 0, HERE)
    assert (kind, why) == ("memory", "48.0 GB of the 96.0 GB that are free")


def test_beyond_that_they_go_to_a_disk_with_room_for_them():
    kind, why = choose("auto", SIZE, 30 * GB, 96 * GB - 1, 32 * GB, HERE)
    assert kind == "disk"
    assert why == "48.0 GB are more than half of the 96.0 GB of memory that are free"


def test_what_is_on_the_disk_already_needs_no_room():
    assert choose("auto", SIZE, 3 * GB, 24 * GB, 5 * GB, HERE)[0] == "disk"
    assert choose("auto", SIZE, 0, 24 * GB, 0, HERE)[0] == "disk"


def test_what_fits_nowhere_is_refused_with_the_numbers_and_the_way_out():
    with pytest.raises(InputError) as found:
        choose("auto", SIZE, 30 * GB, 24 * GB, 31 * GB, HERE)
    for words in ("48.0 GB", "24.0 GB", "30.0 GB", "31.0 GB", "cases", "--cache-folder", "--cache none"):
        assert words in str(found.value)


def test_what_was_asked_for_is_done_unless_the_disk_is_too_small():
    assert choose("memory", SIZE, 30 * GB, 0, 0, HERE) == ("memory", "as asked")
    assert choose("none", SIZE, 30 * GB, 0, 0, HERE) == ("none", "as asked")
    assert choose("disk", SIZE, 30 * GB, 500 * GB, 32 * GB, HERE) == ("disk", "as asked")
    with pytest.raises(InputError, match=r"30\.0 GB of them have to go to cases, whose disk has 31\.0 GB"):
        choose("disk", SIZE, 30 * GB, 500 * GB, 31 * GB, HERE)


def test_a_case_takes_four_bytes_a_voxel_and_channel_and_its_label():
    size = CaseSize.of(10**6, channels=2, structures=3)
    places = 12 * 30_000
    assert size.memory == 10**6 * (4 * 2 + 4) + places
    assert size.disk == 10**6 * (4 * 2 + 1) + places
    assert CaseSize.of(10**6, 2, 200).disk == 10**6 * (4 * 2 + 2) + 12 * 10**6
    assert CaseSize.together([size, size]) == CaseSize(2 * size.memory, 2 * size.disk)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "scan.nrrd", "scan.mha"])
def test_the_size_on_the_model_s_grid_follows_from_the_header(tmp_path, name):
    path, array = tmp_path / name, np.random.default_rng(0).normal(size=(20, 30, 10)).astype(np.float32)
    if "nii" in name:
        write_volume(path, array, np.diag([1, 1, 3, 1]))
    else:
        image = sitk.GetImageFromArray(array.transpose())
        image.SetSpacing((1, 1, 3))
        sitk.WriteImage(image, str(path))
    case = Case("scan", path, path)
    assert case_size(case, 1, 1, (2, 2, 2)) == CaseSize.of(20 * 30 * 10 * 3 / 8, 1, 1)
    assert case_size(case, 1, 1, None) == CaseSize.of(20 * 30 * 10, 1, 1)


def test_a_file_that_cannot_be_read_takes_nothing_for_reading_it_says_what_is_wrong(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"no scan")
    for name in ("scan.nii.gz", "absent.nii.gz", "absent.nrrd"):
        assert case_size(Case("a", tmp_path / name, None), 1, 1, (1, 1, 1)) == CaseSize(0, 0)


def test_the_estimate_is_what_cases_take(windows, tmp_path):
    bundle = Bundle.load(tiny.write_bundle(tmp_path))
    cases = read_cases(windows)
    voxels = 24 * 24 * 12
    held = hold(bundle, [*cases, Case("bare", cases[0].image, None)], "memory")
    assert held.size == CaseSize(*(len(cases) * voxels * n + len(cases) * 12 * voxels for n in (8, 5)))


def test_the_room_of_a_folder_that_is_not_there_yet_is_that_of_its_disk(tmp_path):
    assert room_in(tmp_path / "not" / "there") == pytest.approx(room_in(tmp_path), rel=0.01)


def test_a_folder_that_nothing_is_put_into_is_refused(windows, tmp_path):
    bundle = Bundle.load(tiny.write_bundle(tmp_path))
    for wanted in ("memory", "none"):
        with pytest.raises(InputError, match=f"--cache {wanted} puts none there"):
            hold(bundle, read_cases(windows), wanted, tmp_path)


def test_the_user_s_folder_of_caches_is_where_they_go(windows, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    held = hold(Bundle.load(tiny.write_bundle(tmp_path)), read_cases(windows), "disk")
    assert held.folder == case_cache.user_cases()
    assert not held.folder.exists()


def test_bytes_are_told_in_a_unit_that_people_can_read():
    assert [gigabytes(count) for count in (0, 12.4e6, 999.4e6, 1e9, 47.13e9)] == [
        "0 MB", "12 MB", "999 MB", "1.0 GB", "47.1 GB",
    ]  # fmt: skip


def test_the_sentence_says_where_cases_are_and_how_large_they_are(tmp_path):
    held = Held("disk", "as asked", SIZE, 1, tmp_path)
    assert str(tmp_path) in held.sentence
    assert "0 MB of 0 cases" in held.sentence
    assert held.as_json() == {
        "kind": "disk", "why": "as asked", "memory_bytes": 48 * GB, "disk_bytes": 30 * GB, "folder": str(tmp_path),
    }  # fmt: skip
    assert replace(held, kind="memory").as_json()["folder"] is None


class Model:
    """A model and one case of its own, both of which may be changed."""

    def __init__(self, folder: Path, windows: Path) -> None:
        self.folder, case = folder, read_cases(windows)[0]
        self.path = tiny.write_bundle(folder / "models")
        image, label = folder / "scan.nii.gz", folder / "label.nii.gz"
        image.write_bytes(case.image.read_bytes())
        label.write_bytes(case.label.read_bytes())
        self.case = replace(case, image=image, label=label)

    def key(self, **changes) -> str:
        (key,) = case_keys(Bundle.load(self.path), [replace(self.case, **changes)])
        return key

    def change(self, file: Path, **changes) -> None:
        config = json.loads((self.path / file).read_text(encoding="utf-8"))
        config.update(changes)
        (self.path / file).write_text(json.dumps(config))


@pytest.fixture
def model(windows, tmp_path) -> Model:
    return Model(tmp_path, windows)


def test_the_same_files_and_preprocessing_are_the_same_entry_whatever_the_network(model, tmp_path, windows):
    before = model.key()
    assert model.key() == before
    config = json.loads((model.path / INFERENCE).read_text(encoding="utf-8"))
    model.change(INFERENCE, window=[8, 8, 8], network_def=config["network_def"] | {"head": "low_rank"})
    assert model.key() == before
    (elsewhere,) = case_keys(Bundle.load(tiny.write_bundle(tmp_path / "elsewhere")), [model.case])
    assert elsewhere == before


@pytest.mark.parametrize("name", ["image", "label"])
def test_a_file_that_changed_is_another_entry(model, name):
    before, path = model.key(), getattr(model.case, name)
    later = path.stat().st_mtime_ns + 1000
    os.utime(path, ns=(later, later))
    touched = model.key()
    assert touched != before
    with path.open("ab") as file:
        file.write(b"\0")
    os.utime(path, ns=(later, later))
    assert model.key() not in (touched, before)


def test_the_same_name_in_another_folder_is_another_entry(model):
    other = model.folder / "other" / "scan.nii.gz"
    other.parent.mkdir()
    model.case.image.rename(other)
    other.with_name("copy").write_bytes(other.read_bytes())
    stat = other.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    moved = model.key(image=other)
    other.with_name("copy").rename(model.case.image)
    os.utime(model.case.image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert model.key() != moved


def test_a_label_that_means_something_else_is_another_entry(model):
    section = json.loads((model.path / METADATA).read_text(encoding="utf-8"))["uncertainty"]
    keys = {model.key(), model.key(own_ids=True), model.key(verified=model.case.label)}
    for more in ({"ignore": 7}, {"values": {"1": 2, "2": 1}}):
        model.change(METADATA, uncertainty=section | more)
        keys.add(model.key())
    assert len(keys) == 5


def test_another_preprocessing_is_another_entry_also_where_it_is_named_elsewhere(model):
    keys = {model.key()}
    model.change(INFERENCE, spacing=[2.0, 2.0, 2.0])
    keys.add(model.key())
    config = json.loads((model.path / INFERENCE).read_text(encoding="utf-8"))
    config["preprocessing"]["transforms"][-1]["a_max"] = 250
    model.change(INFERENCE, preprocessing=config["preprocessing"])
    keys.add(model.key())
    assert len(keys) == 3


def test_a_head_on_an_imported_network_shares_the_entries_of_that(model, tmp_path):
    metadata = json.loads((model.path / METADATA).read_text(encoding="utf-8"))
    metadata["uncertainty"]["origin"] = {"source": "nnunet", "folder": "Dataset1"}
    (model.path / METADATA).write_text(json.dumps(metadata))
    base = tiny.give_random_weights(model.path)
    head = with_head(base, "low_rank", model.path.parent, rank=2)
    assert head.base
    assert case_keys(head, [model.case]) == case_keys(base, [model.case])
    model.change(INFERENCE, spacing=[2.0, 2.0, 2.0])
    again = case_keys(Bundle.load(head.folder), [model.case])
    assert again == [model.key()]
    assert again != case_keys(base, [model.case])


def test_a_program_in_the_model_s_folder_is_part_of_the_preprocessing(model):
    model.change(INFERENCE, preprocessing={"_target_": "program", "folder": "@bundle_root"})
    (model.path / "program.json").write_text("{}")
    before = model.key()
    assert model.key() == before
    (model.path / "program.json").write_text("[1]")
    assert model.key() != before


@pytest.mark.parametrize("name", ["NUMBERS", "__version__"])
def test_another_version_of_the_program_makes_its_own(model, monkeypatch, name):
    before = model.key()
    monkeypatch.setattr(case_cache.uncertaintyseg, name, "another")
    assert model.key() != before


def test_a_label_in_a_folder_of_volumes_changes_with_any_of_them(model):
    folder = model.folder / "segmentations"
    folder.mkdir()
    for name in ("organ", "lesion"):
        (folder / f"{name}.nii.gz").write_bytes(model.case.label.read_bytes())
    before = model.key(label=folder)
    os.utime(folder / "lesion.nii.gz", ns=(1, 1))
    assert model.key(label=folder) != before


def test_a_file_that_is_missing_is_named(model):
    with pytest.raises(InputError, match=r"absent\.nii\.gz: no such file"):
        model.key(label=model.folder / "absent.nii.gz")
