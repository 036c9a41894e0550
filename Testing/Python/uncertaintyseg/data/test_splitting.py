"""Splits: committed ones, and those of one's own, drawn by subject and kept beside the data."""

from __future__ import annotations

import json
import os
import random
from itertools import chain
from pathlib import Path

import pytest

from uncertaintyseg.data.cases import Case
from uncertaintyseg.data.splitting import (
    KEPT,
    SPLIT_NAMES,
    grown_split,
    keep_split,
    kept_split,
    make_split,
    planned_split,
    read_split,
    shared_subjects,
    subject_of,
    training_parts,
)
from uncertaintyseg.errors import InputError


def cases_of(*ids: str) -> list[Case]:
    return [Case(i, Path(f"{i}.nii.gz"), Path(f"{i}_label.nii.gz")) for i in ids]


SUBJECTS = [f"patient{number:03d}" for number in range(1, 41)]
FRAMES = [f"{subject}_frame{frame:02d}" for subject in SUBJECTS for frame in (1, 12)]


@pytest.mark.parametrize(
    ("case_id", "subject"),
    [
        ("patient001_frame01", "patient001"), ("patient001_frame12", "patient001"), ("sub-01_ses-02", "sub-01"),
        ("sub-A7_ses-pre_run-1_T1w", "sub-A7"), ("p12_t1", "p12"), ("p12_visit2", "p12"), ("p12-visit-2", "p12"),
        ("0042_baseline", "0042"), ("0042_followup", "0042"), ("9001104_LEFT", "9001104"), ("p3_ses-2_scan_1", "p3"),
        ("BraTS-GLI-00005-100", "BraTS-GLI-00005"), ("BraTS2021_00005", "BraTS2021_00005"),
        ("hippocampus_001", "hippocampus_001"), ("case_00012", "case_00012"), ("volume-10", "volume-10"),
        ("scan_01", "scan_01"), ("phantom_frame_3", "phantom_frame_3"), ("img0001", "img0001"), ("sub-01", "sub-01"),
        ("a_left", "a_left"), ("s0001_liver2", "s0001_liver2"), ("12_34", "12_34"), ("", ""),
    ],
)  # fmt: skip
def test_an_id_tells_its_subject_where_it_has_a_known_pattern(case_id, subject):
    assert subject_of(case_id) == subject
    assert subject_of(subject) == subject


@pytest.mark.parametrize("kept", [None, FRAMES[:60]])
def test_a_split_that_is_only_looked_at_is_the_one_that_is_kept_later(tmp_path, kept):
    if kept:
        keep_split(tmp_path, cases_of(*kept))
    before = sorted(tmp_path.iterdir())
    planned = planned_split(tmp_path, FRAMES[2:])
    assert sorted(tmp_path.iterdir()) == before
    assert planned == keep_split(tmp_path, cases_of(*FRAMES[2:]))


def test_a_committed_split_that_names_the_cases_is_the_planned_one(tmp_path):
    shipped = read_split("msd_hippocampus")
    assert planned_split(tmp_path, chain(*shipped.values())) == shipped


def test_no_subject_is_in_two_parts_and_nobody_is_lost():
    parts = make_split(FRAMES)
    assert sorted(chain(*parts.values())) == sorted(FRAMES)
    assert {part: len(ids) for part, ids in parts.items()} == {
        "train": 44, "validation": 12, "calibration": 12, "test": 12,
    }  # fmt: skip
    of_part = [{subject_of(i) for i in ids} for ids in parts.values()]
    assert sum(len(subjects) for subjects in of_part) == len(set().union(*of_part)) == 40


def test_a_split_is_the_same_in_any_order_and_not_in_order_of_the_names():
    parts = make_split(FRAMES)
    for seed in range(5):
        shuffled = FRAMES.copy()
        random.Random(seed).shuffle(shuffled)
        assert make_split(shuffled) == parts
    assert parts["train"] != sorted(FRAMES)[:44]


@pytest.mark.parametrize("count", range(2, 40))
def test_every_size_trains_and_validates_and_larger_ones_calibrate_and_test(count):
    parts = make_split(f"case_{number}" for number in range(count))
    sizes = {part: len(ids) for part, ids in parts.items()}
    assert sum(sizes.values()) == count
    assert min(sizes["train"], sizes["validation"]) >= 1
    assert (min(sizes["calibration"], sizes["test"]) >= 1) == (count >= 7)


def test_cases_of_one_subject_are_split_one_by_one():
    parts = make_split(["p1_frame1", "p1_frame2", "p1_frame3"])
    assert [len(ids) for ids in parts.values()] == [2, 1, 0, 0]


def test_further_cases_move_nobody_and_join_their_subject():
    parts = make_split(FRAMES)
    more = [f"{subject}_frame20" for subject in SUBJECTS] + [f"patient{number:03d}_frame01" for number in range(41, 81)]
    grown = grown_split(parts, [*FRAMES, *more])
    assert all(set(parts[part]) <= set(grown[part]) for part in SPLIT_NAMES)
    assert sorted(chain(*grown.values())) == sorted([*FRAMES, *more])
    of_part = [{subject_of(i) for i in grown[part]} for part in SPLIT_NAMES]
    assert sum(map(len, of_part)) == 80
    assert [len(subjects) for subjects in of_part] == [44, 12, 12, 12]
    assert grown_split(parts, more[::-1]) == grown


def test_a_split_is_written_once_beside_the_data_and_grows(tmp_path):
    told: list[str] = []
    assert kept_split(tmp_path) is None
    first = keep_split(tmp_path, cases_of(*FRAMES), tell=told.append)
    assert first == make_split(FRAMES) == read_split(tmp_path / KEPT) == kept_split(tmp_path)
    assert "44 train, 12 validation, 12 calibration, 12 test" in told[-1]
    assert [path.name for path in tmp_path.iterdir()] == [KEPT]
    written = (tmp_path / KEPT).stat().st_mtime_ns
    assert keep_split(tmp_path, cases_of(*FRAMES[::-1])) == first
    assert (tmp_path / KEPT).stat().st_mtime_ns == written
    grown = keep_split(tmp_path, cases_of(*FRAMES, "patient001_frame30", "new_1"))
    assert all(set(first[part]) <= set(grown[part]) for part in SPLIT_NAMES)
    assert kept_split(tmp_path) == grown
    fewer = keep_split(tmp_path, cases_of(*FRAMES))
    assert fewer == first  # those whose cases are gone stay in the file, and are passed over
    assert kept_split(tmp_path) == grown


def test_unlabelled_cases_belong_to_no_part(tmp_path):
    cases = [*cases_of("a", "b", "c"), Case("d", Path("d.nii.gz"), None)]
    assert sorted(chain(*keep_split(tmp_path, cases).values())) == ["a", "b", "c"]


def test_what_a_person_wrote_beside_the_data_counts(tmp_path):
    mine = {"train": ["b"], "validation": ["a"], "calibration": ["c"], "test": []}
    (tmp_path / KEPT).write_text(json.dumps(mine))
    assert keep_split(tmp_path, cases_of("a", "b", "c")) == mine
    (tmp_path / KEPT).write_text("{")
    with pytest.raises(InputError, match=rf"{KEPT}: not a JSON file"):
        keep_split(tmp_path, cases_of("a", "b"))
    (tmp_path / KEPT).write_text(json.dumps(mine))
    with pytest.raises(InputError, match=r"part train has no labelled case left"):
        keep_split(tmp_path, cases_of("a", "c"))


def test_a_folder_that_cannot_be_written_is_told_and_splits_the_same_again(tmp_path, monkeypatch):
    told: list[str] = []
    folder = tmp_path / "nowhere"  # what cannot be written, whoever runs the tests
    first = keep_split(folder, cases_of(*FRAMES), tell=told.append)
    assert "cannot be written" in told[0]
    assert keep_split(folder, cases_of(*FRAMES)) == first == make_split(FRAMES)


def test_of_two_who_draw_at_once_the_first_counts(tmp_path, monkeypatch):
    theirs = {"train": ["a"], "validation": ["b"], "calibration": [], "test": []}
    link = os.link

    def late(source, target):
        Path(target).write_text(json.dumps(theirs))
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert keep_split(tmp_path, cases_of("a", "b")) == theirs
    assert [path.name for path in tmp_path.iterdir()] == [KEPT]


def test_a_data_set_that_a_committed_split_names_has_that_one(tmp_path):
    shipped = read_split("msd_hippocampus")
    assert keep_split(tmp_path, cases_of(*chain(*shipped.values()))) == shipped
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ids", [[], ["a"]])
def test_less_than_two_cases_are_refused(tmp_path, ids):
    with pytest.raises(InputError, match="at least two labelled cases"):
        keep_split(tmp_path, cases_of(*ids))


def test_training_takes_parts_as_they_are():
    cases = cases_of("a", "b", "c")
    training, validation = training_parts(cases, {"train": ["c", "a"], "validation": ["b"]})
    assert ([case.id for case in training], [case.id for case in validation]) == (["c", "a"], ["b"])
    with pytest.raises(InputError, match="without a label in DATA, first 'x'"):
        training_parts(cases, {"train": ["x"], "validation": ["b"]})


def test_small_sets_validate_on_the_same_cases_as_before_there_were_splits():
    cases = cases_of(*(f"case_{number}" for number in range(6)))
    parts = make_split(case.id for case in cases)
    training, validation = training_parts(cases, None)
    assert ([c.id for c in training], [c.id for c in validation]) == (parts["train"], parts["validation"])


def test_subjects_in_several_parts_are_told(tmp_path):
    frames = [Case(f"patient1_frame{n}", tmp_path / "a", tmp_path / "b") for n in range(3)]
    told = []
    parts = keep_split(tmp_path, frames, tell=told.append)
    assert shared_subjects(parts) == ["patient1"]
    assert "though cases of patient1 are in several of them" in told[-1]
    assert shared_subjects({"train": ["p1_visit1", "p2"], "validation": ["p3", "p4_visit1"]}) == []
