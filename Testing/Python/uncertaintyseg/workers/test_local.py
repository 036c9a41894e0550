"""Processes of this machine that do items, die, cannot start, or are asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from Testing.Python.uncertaintyseg.workers.tasks import Broken, Double, Threads
from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.workers import LocalCrew, each


def done(items, task, size=2, **options):
    return sorted(each(items, task, LocalCrew(size, 1), **options), key=lambda outcome: outcome.item)


def test_every_item_is_done_once_and_what_it_says_is_heard(tmp_path):
    heard = []
    outcomes = done(range(6), Double(tmp_path), progress=lambda *where: heard.append(where))
    assert [(outcome.item, outcome.answer, outcome.error) for outcome in outcomes] == [
        (i, 2 * i, None) for i in range(6)
    ]
    assert sorted(path.name.split("_")[0] for path in tmp_path.iterdir()) == [str(i) for i in range(6)]
    assert {where[1:] for where in heard} == {("doubling", 0.5)}


def test_what_an_item_lacks_is_said_of_it_and_the_others_are_done(tmp_path):
    below, one, by_zero = done([1, -1, 1000], Double(tmp_path))
    assert (below.error, below.died) == ("-1 is below 0", False)
    assert one.answer == 2
    assert "unexpected ZeroDivisionError: by nothing" in by_zero.error


def test_a_worker_that_dies_is_replaced_and_its_item_done_by_another(tmp_path):
    outcomes = done(range(5), Double(tmp_path, deadly_once=(1, 3)))
    assert [outcome.answer for outcome in outcomes] == [0, 2, 4, 6, 8]
    assert len(list(tmp_path.glob("1_*"))) == len(list(tmp_path.glob("3_*"))) == 2  # by two processes


def test_an_item_that_kills_two_workers_is_named_and_not_repeated(tmp_path):
    outcomes = done(range(5), Double(tmp_path, deadly=(2,)))
    assert [outcome.item for outcome in outcomes if outcome.died] == [2]
    assert "2 workers died of it (signal SIGKILL)" in outcomes[2].error
    assert [outcome.answer for outcome in outcomes] == [0, 2, None, 6, 8]
    assert len(list(tmp_path.glob("2_*"))) == 2


def test_outcomes_may_make_further_items_possible(tmp_path):
    outcomes = done([1], Double(tmp_path), follow=lambda outcome: [outcome.item + 1] if outcome.item < 4 else [])
    assert [outcome.answer for outcome in outcomes] == [2, 4, 6, 8]


@pytest.mark.parametrize(("dies", "message"), [(False, "no model here"), (True, "die before they are ready .*SIGKILL")])
def test_workers_that_cannot_get_ready_end_it_with_the_reason(dies, message):
    with pytest.raises(UncertaintySegError, match=message):
        done(range(3), Broken(dies))


def test_a_worker_uses_as_many_threads_as_it_is_given():
    ((outcome),) = done([0], Threads(), size=1)
    assert outcome.answer == (1, "1")


def test_nobody_is_left_when_the_caller_stops_early(tmp_path):
    others = psutil.Process().children()  # of other tests
    outcomes = each(range(50), Double(tmp_path, slow=0.05), LocalCrew(2, 1))
    next(outcomes)
    pids = {int(path.name.split("_")[1]) for path in tmp_path.iterdir()}
    started = {process.pid: process.cmdline() for process in psutil.Process().children() if process not in others}
    workers = {pid for pid, command in started.items() if "resource_tracker" not in " ".join(command)}
    assert pids <= workers
    assert len(workers) == 2
    outcomes.close()
    assert not [pid for pid in workers if psutil.pid_exists(pid)]


LONG = """
import signal, sys
from pathlib import Path
from Testing.Python.uncertaintyseg.workers.tasks import Double
from uncertaintyseg.workers import LocalCrew, each

signal.signal(signal.SIGINT, signal.default_int_handler)  # what was started in the background ignores it
for outcome in each(range(400), Double(Path(sys.argv[1]), slow=0.1), LocalCrew(2, 1)):
    print(outcome.item, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_workers_end_with_the_command(tmp_path, end):
    command = [sys.executable, "-c", LONG, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline()
        workers = psutil.Process(process.pid).children(recursive=True)
        if end == signal.SIGINT:
            os.killpg(process.pid, end)  # as a terminal does
        else:
            process.kill()
        process.communicate(timeout=60)
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert gone
    assert not alive
