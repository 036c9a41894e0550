"""What was measured is kept from one time to the next, as long as it is true."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from Testing.Python.uncertaintyseg.planning import small_cases
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.planning import cache as caching
from uncertaintyseg.planning.cache import FactsCache
from uncertaintyseg.planning.fingerprint import take_fingerprint
from uncertaintyseg.planning.measuring import Meaning, measure


@pytest.fixture
def dataset(tmp_path):
    return small_cases.make(tmp_path / "data", 4)


@pytest.fixture
def told():
    return []


def opened(folder, dataset, told, meaning=None):
    return FactsCache(folder, dataset.folder, meaning or Meaning.of(dataset), told.append)


def fill(folder, dataset, told):
    kept = opened(folder, dataset, told)
    for case in dataset.cases:
        assert kept.find(case) is None
        kept.add(case, measure(case, Meaning.of(dataset)))
    (path,) = folder.iterdir()
    return path


def known(folder, dataset, told, meaning=None):
    kept = opened(folder, dataset, told, meaning)
    return [case.id for case in dataset.cases if kept.find(case) is not None]


ALL = [f"case_{number}" for number in range(4)]


def test_what_comes_back_is_what_was_measured_to_the_last_bit(tmp_path, dataset, told):
    fill(tmp_path / "cache", dataset, told)
    kept = opened(tmp_path / "cache", dataset, told)
    for case in dataset.cases:
        before, after = measure(case, Meaning.of(dataset)), kept.find(case)
        assert after.problems == before.problems
        ours, theirs = asdict(after.facts), asdict(before.facts)
        for one, other in zip(ours.pop("channels"), theirs.pop("channels"), strict=True):
            assert np.array_equal(one.pop("sample"), other.pop("sample"))
            assert one == other
        assert ours == theirs
    assert told == []


def test_problems_of_a_case_and_facts_without_a_number_come_back_too(tmp_path, told):
    def spoil(number, parts):
        parts[0][0][2, 2, 2] = np.nan
        if number == 1:
            parts[1][:] = 0

    dataset = small_cases.make(tmp_path / "data", 2, change=spoil)
    fill(tmp_path / "cache", dataset, told)
    kept = opened(tmp_path / "cache", dataset, told)
    assert [kept.find(case).problems[0].kind for case in dataset.cases] == ["nonfinite"] * 2
    empty = kept.find(dataset.cases[1]).facts
    assert np.isnan(empty.channels[0].mean)
    assert empty.channels[0].sample.shape == (0,)
    assert empty.label_hash is None


def test_a_file_that_changed_is_measured_anew(tmp_path, dataset, told):
    fill(tmp_path / "cache", dataset, told)
    assert known(tmp_path / "cache", dataset, told) == ALL
    write_volume(dataset.cases[1].label, small_cases.label() * 0 + 1, np.diag([*small_cases.SPACING, 1.0]))
    later = dataset.cases[2].image.stat().st_mtime_ns + 10**9
    os.utime(dataset.cases[2].image, ns=(later, later))
    assert known(tmp_path / "cache", dataset, told) == ["case_0", "case_3"]


def test_numbers_that_mean_something_else_are_measured_anew(tmp_path, dataset, told, monkeypatch):
    fill(tmp_path / "cache", dataset, told)
    meaning = Meaning.of(dataset)
    for other in (
        replace(meaning, values={1: 2, 2: 1}),
        replace(meaning, ignore=2),
        replace(meaning, ids={"organ": 1}),
    ):
        assert known(tmp_path / "cache", dataset, told, other) == []
    monkeypatch.setattr(caching, "VERSION", caching.VERSION + 1)
    assert known(tmp_path / "cache", dataset, told) == []


@pytest.mark.parametrize("damage", ["cut", "noise", "not json", "other json", "missing field"])
def test_a_damaged_line_costs_its_case_alone(tmp_path, dataset, told, damage):
    path = fill(tmp_path / "cache", dataset, told)
    lines = path.read_bytes().splitlines()
    lines[-1] = {
        "cut": lines[-1][: len(lines[-1]) // 2],
        "noise": bytes(range(128, 255)),
        "not json": b"{",
        "other json": b"[1, 2]",
        "missing field": lines[-1].replace(b'"spacing"', b'"spaced"'),
    }[damage]
    path.write_bytes(b"\n".join(lines))
    assert known(tmp_path / "cache", dataset, told) == ALL[:3]
    kept = opened(tmp_path / "cache", dataset, told)
    kept.find(dataset.cases[3])
    kept.add(dataset.cases[3], measure(dataset.cases[3], Meaning.of(dataset)))  # behind what was cut short
    assert known(tmp_path / "cache", dataset, told) == ALL


def test_two_folders_of_one_name_do_not_share(tmp_path, told):
    for number, folder in enumerate(("a", "b")):
        dataset = small_cases.make(tmp_path / folder / "data", 1 + number)
        kept = opened(tmp_path / "cache", dataset, told)
        for case in dataset.cases:
            assert kept.find(case) is None
            kept.add(case, measure(case, Meaning.of(dataset)))
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="folders without the right to write")
def test_a_folder_that_may_not_be_written_is_told_once_and_passed_over(tmp_path, dataset):
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    place = folder if os.geteuid() else dataset.cases[0].image  # root may write anywhere, but not below a file
    fingerprint = take_fingerprint(dataset, cache=place / "below", workers=0)
    folder.chmod(stat.S_IRWXU)
    told = [problem for problem in fingerprint.problems if problem.kind == "cache"]
    assert [(problem.case_id, problem.severity) for problem in told] == [(None, "warning")]
    assert "cannot be kept" in told[0].text
    assert len(fingerprint.cases) == 4


FULL = """
import resource, signal, sys
from pathlib import Path
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.planning.fingerprint import take_fingerprint

dataset = read_dataset(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (15000, 15000))  # a disk with room for one case
found = take_fingerprint(dataset, cache=Path(sys.argv[2]), workers=0)
print(len(found.cases), [problem.kind for problem in found.problems])
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="limits")
def test_a_full_disk_is_told_and_what_was_kept_before_stays(tmp_path, dataset, told):
    command = [sys.executable, "-c", FULL, str(dataset.folder), str(tmp_path / "cache")]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240, check=False)
    assert result.stdout.strip() == "4 ['cache']", result.stderr
    assert known(tmp_path / "cache", read_dataset(dataset.folder), told) == ["case_0"]


def test_the_second_time_nothing_is_measured(tmp_path, dataset):
    first = take_fingerprint(dataset, cache=tmp_path / "cache", workers=0)
    steps = []
    second = take_fingerprint(dataset, cache=tmp_path / "cache", workers=0, progress=lambda *step: steps.append(step))
    assert steps == []
    assert second.channels == first.channels
    assert second.structures == first.structures
    assert second.problems == first.problems


def test_the_user_s_folder_of_caches_is_where_it_is_kept(tmp_path, dataset, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if sys.platform == "linux":
        assert caching.user_cache().is_relative_to(tmp_path / "home")
        take_fingerprint(read_dataset(dataset.folder), workers=0)
        assert len(list(caching.user_cache().iterdir())) == 1
