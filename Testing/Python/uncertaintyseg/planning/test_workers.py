"""Cases measured by other processes, which die, cannot start, or are asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from Testing.Python.uncertaintyseg.planning import small_cases
from uncertaintyseg.planning import workers
from uncertaintyseg.planning.measuring import Meaning, measure
from uncertaintyseg.planning.workers import measure_all


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_cases.make(tmp_path_factory.mktemp("cases"), 5)


def killed(case, meaning):
    """Dies at the third case, as when memory runs out."""
    if case.id == "case_2":
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(case, meaning)


def killed_once(case, meaning):
    """Dies at the first look at the third case."""
    seen = case.image.with_name("seen")
    if case.id == "case_2" and not seen.exists():
        seen.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return measure(case, meaning)


def test_two_processes_find_what_one_finds(dataset):
    meaning = Meaning.of(dataset)
    alone = {case.id: found for case, found in measure_all(dataset.cases, meaning, 0)}
    together = {case.id: found for case, found in measure_all(dataset.cases, meaning, 2)}
    assert list(alone) == [case.id for case in dataset.cases]
    assert set(together) == set(alone)
    for case_id, found in alone.items():
        assert together[case_id].facts.image_hash == found.facts.image_hash
        assert together[case_id].facts.voxels == found.facts.voxels
        assert (together[case_id].facts.channels[0].sample == found.facts.channels[0].sample).all()


def test_a_process_that_dies_at_a_case_is_that_case_s_problem_alone(dataset):
    found = {case.id: one for case, one in measure_all(dataset.cases, Meaning.of(dataset), 2, work=killed)}
    assert [case_id for case_id, one in found.items() if one.facts is None] == ["case_2"]
    assert len(found) == 5
    (problem,) = found["case_2"].problems
    assert (problem.case_id, problem.kind, problem.severity) == ("case_2", "died", "error")
    assert "SIGKILL" in problem.text
    assert "case_2" in problem.text


def test_a_case_whose_process_died_is_tried_once_more_alone(tmp_path):
    dataset = small_cases.make(tmp_path, 4)
    found = {case.id: one for case, one in measure_all(dataset.cases, Meaning.of(dataset), 2, work=killed_once)}
    assert (tmp_path / "imagesTr" / "seen").exists()
    assert all(one.facts is not None for one in found.values())
    assert len(found) == 4


def test_where_no_process_can_start_this_one_measures(dataset):
    def nameless(case, meaning):  # no other process can import it
        return measure(case, meaning)

    with pytest.raises((AttributeError, TypeError)):
        list(measure_all(dataset.cases, Meaning.of(dataset), 1, work=nameless))
    program = (
        "from uncertaintyseg.data.dataset import read_dataset\n"
        "from uncertaintyseg.planning.measuring import Meaning\n"
        "from uncertaintyseg.planning.workers import measure_all\n"
        f"dataset = read_dataset({str(dataset.folder)!r})\n"
        "print(len([1 for _ in measure_all(dataset.cases, Meaning.of(dataset), 2)]))\n"
    )  # without a main guard, so whatever process is started starts with an error
    script = dataset.folder / "unguarded.py"
    script.write_text(program)
    result = subprocess.run([sys.executable, script], capture_output=True, encoding="utf-8", timeout=240, check=False)
    assert result.stdout.split() == ["5"], result.stderr


def test_few_voxels_are_measured_here_and_many_by_as_many_processes_as_memory_allows(dataset, monkeypatch):
    meaning = Meaning.of(dataset)
    assert workers._fitting(dataset.cases, meaning) == 0
    monkeypatch.setattr(workers, "_voxels", lambda case, meaning: 5e8)
    bytes_of_two = 2 * (workers._BASE_BYTES + 5e8 * 20) / workers._USED
    for free, expected in ((bytes_of_two * 1.01, 2), (bytes_of_two / 2 * 1.01, 1), (1e6, 1), (1e15, 4)):
        memory = psutil.virtual_memory()._replace(available=int(free))
        monkeypatch.setattr(workers.psutil, "virtual_memory", lambda memory=memory: memory)
        monkeypatch.setattr(workers, "cores", lambda: 4)
        assert workers._fitting(dataset.cases, meaning) == expected


def test_what_a_case_takes_is_read_from_its_header(dataset, tmp_path):
    meaning = Meaning.of(dataset)
    assert workers._voxels(dataset.cases[0], meaning) == 12 * 10 * 8
    from dataclasses import replace

    (tmp_path / "broken.nii.gz").write_bytes(b"no such thing")
    assert workers._voxels(replace(dataset.cases[0], image=tmp_path / "broken.nii.gz"), meaning) == 0


STOPPED = """
import signal
import sys
from pathlib import Path
from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.planning.fingerprint import take_fingerprint

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what was started in the background ignores it

    def told(text, fraction):
        print(text, flush=True)

    take_fingerprint(read_dataset(sys.argv[1]), cache=Path(sys.argv[2]), workers=1, progress=told)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_all_processes_and_keeps_what_was_measured(tmp_path):
    dataset = small_cases.make(tmp_path / "data", 400)
    script, cache = tmp_path / "stopped.py", tmp_path / "cache"
    script.write_text(STOPPED)
    command = [sys.executable, str(script), str(dataset.folder), str(cache)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline().startswith(b"measured 1 of 400")
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        error = process.communicate(timeout=60)[1]
    assert b"KeyboardInterrupt" in error
    assert error.count(b"Traceback") == 1  # the workers say nothing
    deadline = time.monotonic() + 30
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kept = next(cache.iterdir()).read_bytes()
    assert kept.endswith(b"\n")
    assert 1 <= len(kept.splitlines()) < 400
    assert Path(dataset.folder).is_dir()
