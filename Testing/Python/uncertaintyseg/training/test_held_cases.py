"""A fit gives the same weights wherever its cases are held; those on disk are made anew where they have to be."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training import case_cache
from uncertaintyseg.training.case_cache import hold
from uncertaintyseg.training.case_store import CaseStore
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.loading import read_labelled
from uncertaintyseg.training.recipe import Recipe

RECIPES = {
    "whole": {},
    "patches": {"steps_per_epoch": 3, "foreground": 0.5, "rare_labels": [2]},
    "weights": {"rare_labels": [2], "objective": "hybrid"},
}


@pytest.fixture(scope="module")
def cases(windows) -> list[Case]:
    return read_cases(windows)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return Bundle.load(
        tiny.write_bundle(tmp_path_factory.mktemp("models"), recipe={"epochs": 2, "learning_rate": 0.02})
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_fit_gives_the_same_weights_wherever_its_cases_are_held(bundle, cases, tmp_path, name):
    recipe = Recipe.load(bundle, **RECIPES[name])
    found = {}
    for run, wanted in {"memory": "memory", "disk": "disk", "again": "disk", "none": "none"}.items():
        said: list[str] = []
        report = fit(
            bundle, cases[:3], cases[3:5], tmp_path / run, recipe=recipe, cache=wanted,
            cache_folder=tmp_path / "cases" if wanted == "disk" else None,
            progress=lambda text, fraction, said=said: said.append(text),
        )  # fmt: skip
        found[run] = report.bundle.checksum, report.validation["nll"]
        assert report.held.kind == wanted
        assert sum("(as asked)" in text and text.startswith("reading") for text in said) == 2
    assert len(set(found.values())) == 1, found
    assert CaseStore(tmp_path / "cases").size()[1] == 5


class Killed(BaseException):
    """As abrupt as a signal: nothing catches it."""


def kill_in_the_second_epoch(text: str, fraction: float) -> None:
    if text.startswith("epoch 2/"):
        raise Killed


def test_a_fit_that_was_killed_goes_on_with_its_cases_elsewhere(bundle, cases, tmp_path):
    whole = fit(bundle, cases[:3], cases[3:5], tmp_path / "whole", cache="memory")
    with pytest.raises(Killed):
        fit(bundle, cases[:3], cases[3:5], tmp_path / "runs", cache="memory", progress=kill_in_the_second_epoch)
    said: list[str] = []
    resumed = fit(
        bundle, cases[:3], cases[3:5], tmp_path / "runs", cache="disk", cache_folder=tmp_path / "cases",
        progress=lambda text, fraction: said.append(text),
    )  # fmt: skip
    assert next(text for text in said if text.startswith("epoch")).startswith("epoch 2/2")
    assert resumed.bundle.checksum == whole.bundle.checksum


def test_cases_that_memory_does_not_hold_go_to_the_disk_by_themselves_or_the_fit_does_not_begin(
    bundle, cases, tmp_path, monkeypatch
):
    size = hold(bundle, cases[:5], "memory").size
    monkeypatch.setattr(case_cache, "free_memory", lambda: 2 * size.memory - 1)
    monkeypatch.setattr(case_cache, "room_in", lambda folder: size.disk + case_cache.MARGIN - 1)
    arguments = bundle, cases[:3], cases[3:5], tmp_path / "runs"
    with pytest.raises(InputError, match=r"do not fit: .* --cache-folder, .* --cache none"):
        fit(*arguments, cache_folder=tmp_path / "cases")
    assert not (tmp_path / "cases").exists()
    monkeypatch.setattr(case_cache, "room_in", lambda folder: size.disk + case_cache.MARGIN)
    assert fit(*arguments, cache_folder=tmp_path / "cases").held.kind == "disk"
    monkeypatch.setattr(case_cache, "room_in", lambda folder: 0)  # all that is needed is there
    assert fit(*arguments, cache_folder=tmp_path / "cases").held.kind == "disk"


def items(bundle: Bundle, cases: list[Case], folder: Path, **options):
    return read_labelled(
        bundle, cases, "training", lambda *_: None, held=hold(bundle, cases, "disk", folder), **options
    )


def times(folder: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/image.npy")}


def test_a_second_fit_makes_nothing_again_and_a_scan_that_changed_is_made_anew(bundle, cases, tmp_path):
    scans = [Case(case.id, tmp_path / case.image.name, case.label) for case in cases[:2]]
    for case, scan in zip(cases, scans, strict=False):
        scan.image.write_bytes(case.image.read_bytes())
    items(bundle, scans, tmp_path / "cases")
    before = times(tmp_path / "cases")
    items(bundle, scans, tmp_path / "cases", voxels=True)
    assert times(tmp_path / "cases") == before
    scan = read_scan(scans[0].image)
    write_volume(scans[0].image, scan[0].numpy() + 50, np.asarray(scan.affine))
    changed = items(bundle, scans, tmp_path / "cases")
    assert len(times(tmp_path / "cases")) == 3
    expected = bundle.preprocessing()({"image": str(scans[0].image), "label": str(scans[0].label)})
    assert torch.equal(changed[0]["image"].as_tensor(), expected["image"].as_tensor())


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_an_entry_that_is_damaged_or_deleted_while_it_is_used_is_made_anew(bundle, cases, tmp_path, how):
    found = items(bundle, cases[:2], tmp_path / "cases")
    before = found[1]["image"].clone()
    file = tmp_path / "cases" / found.keys[1] / "image.npy"
    if how == "cut":
        file.write_bytes(file.read_bytes()[:500])
    else:
        for path in file.parent.iterdir():
            path.unlink()
        file.parent.rmdir()
    assert torch.equal(found[1]["image"], before)
    assert CaseStore(tmp_path / "cases").check(found.keys[1])


def test_only_what_a_patch_needs_is_read(bundle, cases, tmp_path):
    item = items(bundle, cases[:1], tmp_path / "cases", voxels=True)[0]
    assert item["label"].dtype == torch.int8
    assert item["voxels"][1].dtype == torch.int32
    image = np.load(next((tmp_path / "cases").glob("*/image.npy")), allow_pickle=False)
    assert np.array_equal(item["image"].numpy(), image)


@pytest.mark.parametrize("wanted", ["disk", "none"])
def test_a_label_that_cannot_be_used_is_named_as_from_memory(bundle, cases, tmp_path, wanted):
    write_volume(tmp_path / "wrong.nii.gz", np.full((24, 24, 12), 7), np.diag([*tiny.SPACING, 1.0]))
    wrong = [cases[0], Case("wrong", cases[1].image, tmp_path / "wrong.nii.gz")]
    with pytest.raises(InputError, match=r"wrong\.nii\.gz: unknown class id 7"):
        list(
            read_labelled(
                bundle, wrong, "training", lambda *_: None,
                held=hold(bundle, wrong, wanted, tmp_path / "cases" if wanted == "disk" else None),
            )
        )  # fmt: skip


def test_a_folder_that_cannot_be_written_ends_a_fit_before_it_begins(bundle, cases, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match="preprocessed cases cannot be kept there"):
        fit(bundle, cases[:1], cases[3:4], tmp_path / "runs", cache="disk", cache_folder=tmp_path / "file" / "below")


FILL = """
import sys
from pathlib import Path
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training import case_cache
from uncertaintyseg.training.case_cache import hold
from uncertaintyseg.training.loading import read_labelled

bundle, cases, folder = Bundle.load(sys.argv[1]), read_cases(sys.argv[2]), Path(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
found = read_labelled(bundle, cases, "training", lambda *_: None, held=hold(bundle, cases, "disk", folder))
print(sum(float(case["image"].sum(dtype=float)) for case in found))
"""


def test_a_case_that_cannot_be_used_leaves_no_thread_at_work(bundle, windows, tmp_path):
    shutil.copytree(windows, tmp_path / "data")
    cases = read_cases(tmp_path / "data")
    label = cases[0].label
    write_volume(label, np.full(read_scan(label).shape[1:], 7, np.uint8), read_scan(label).affine)
    with pytest.raises(InputError, match="unknown class id 7"):
        read_labelled(bundle, cases, "training", lambda *_: None, held=hold(bundle, cases, "memory"))
    names = [thread.name.lower() for thread in threading.enumerate()]
    assert [name for name in names if "pool" in name or "worker" in name] == []


def test_two_trainings_that_begin_at_once_share_the_entries(bundle, windows, cases, tmp_path):
    command = [sys.executable, "-c", FILL, str(bundle.folder), str(windows), str(tmp_path / "cases")]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(2)
    ]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=240)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert said[0] == said[1]
    store = CaseStore(tmp_path / "cases")
    names = [path.name for path in store.folder.iterdir()]
    assert len(names) == len(cases)
    assert all(store.check(name) for name in names)
