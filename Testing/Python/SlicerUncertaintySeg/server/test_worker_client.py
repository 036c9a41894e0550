"""The worker with its real child process, against a server in yet another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.server.worker_client import WorkerClient

LIBRARY = Path(__file__).resolve().parents[4] / "SlicerUncertaintySeg"
SLOW = {"state": "running", "fraction": 0.25, "stage": "inference", "eta_s": 7.0}


def alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def child_of(worker: WorkerClient):
    return worker._child._process


def test_nothing_is_called_before_pump(asker):
    ticket = asker.start("health")
    time.sleep(0.5)
    assert asker.ends == {}
    assert asker.worker.pending
    assert asker.end(ticket) == {"status": "ok"}
    assert not asker.worker.pending


def test_progress_has_stage_fraction_and_time_left(asker, wire_server):
    wire_server.job_states = [SLOW, SLOW, {"state": "done", "fraction": 1.0}]
    asker.ask("infer", model="phantom_low_rank", image="phantom_1")
    assert ("Inference", pytest.approx(0.225), 7.0) in asker.progress
    assert asker.progress[-1][0] == "Downloading"
    fractions = [fraction for _, fraction, _ in asker.progress]
    assert fractions == sorted(fractions)


def test_a_slow_request_does_not_keep_others_waiting(asker, wire_server):
    wire_server.delays["/info/"] = 3.0
    slow, quick = asker.start("connect"), asker.start("health")
    asker.end(quick)
    assert slow not in asker.ends
    assert asker.end(slow)["info"]["name"] == "Uncertainty server"


def test_cancelling_is_told_at_once_and_stops_the_job_on_the_server(asker, wire_server):
    wire_server.job_states = [SLOW]
    ticket = asker.start("infer", model="phantom_low_rank", image="phantom_1")
    asker.wait(lambda: asker.progress)
    asker.worker.cancel(ticket)
    asker.worker.pump()
    assert isinstance(asker.ends[ticket], Cancelled)
    asker.wait(lambda: wire_server.count("DELETE", "/uncertainty/v1/jobs/job-1") == 1)
    assert not asker.worker.pending


def test_a_cancelled_request_that_waits_for_the_server_leaves_the_child_free(asker, wire_server):
    wire_server.delays["/uncertainty/v1/results"] = 30.0
    ticket = asker.start("condition", result="k3y", corrections={"organ": [[1, 2, 3]]})
    asker.wait(lambda: wire_server.count("POST", "/uncertainty/v1/results") == 1)
    asker.worker.cancel(ticket)
    assert isinstance(asker.end(ticket), Cancelled)
    assert asker.ask("health") == {"status": "ok"}
    asker.worker.close()  # does not wait for the thirty seconds


def test_cancelling_what_has_ended_does_nothing(asker):
    ticket = asker.start("health")
    asker.end(ticket)
    asker.worker.cancel(ticket)
    asker.worker.pump()
    assert asker.ends == {ticket: {"status": "ok"}}


def test_a_killed_child_fails_what_waits_and_the_next_call_starts_another(asker, wire_server):
    wire_server.delays["/info/"] = 30.0
    tickets = [asker.start("connect"), asker.start("connect")]
    asker.wait(lambda: wire_server.count("GET", "/info/") == 2)
    first = child_of(asker.worker)
    os.kill(first.pid, signal.SIGKILL)
    for ticket in tickets:
        assert str(asker.end(ticket)) == "The helper process that talks to the server has ended: try again."
    assert asker.ask("health") == {"status": "ok"}
    assert child_of(asker.worker).pid != first.pid


def test_a_call_right_after_the_child_was_killed_is_done(asker):
    asker.ask("health")
    child_of(asker.worker).kill()
    child_of(asker.worker).wait()
    assert asker.ask("health") == {"status": "ok"}


def test_an_interpreter_that_cannot_start_fails_the_call(asker, wire_server, tmp_path):
    asker.worker = WorkerClient([str(tmp_path / "no_python")])
    with pytest.raises(ServerError, match="try again"):
        asker.ask("health")


def test_a_server_that_is_gone_is_said_so(asker):
    asker.common["server"]["url"] = "http://127.0.0.1:9"
    with pytest.raises(ServerError, match=r"No MONAI Label server answers at http://127.0.0.1:9"):
        asker.ask("connect")


def test_a_refusal_keeps_its_status(asker, wire_server):
    wire_server.refusals["/uncertainty/v1/cases"] = (409, b'{"detail": "bob has it until 15:04"}')
    with pytest.raises(ServerError, match="bob has it until 15:04") as refused:
        asker.ask("open_case", image="phantom_1")
    assert refused.value.status == 409


def test_a_bug_is_named_and_its_traceback_logged(asker, caplog):
    with pytest.raises(RuntimeError, match=r"TypeError.*nonsense"):
        asker.ask("health", nonsense=1)
    assert "Traceback" in caplog.text


def test_the_token_is_in_no_command_line_and_no_environment(asker, wire_server):
    asker.common["server"]["token"] = "s3cret-t0ken"
    asker.ask("connect")
    assert wire_server.requests[-1][2]["Authorization"] == "Bearer s3cret-t0ken"
    process = Path("/proc") / str(child_of(asker.worker).pid)
    for public in ("cmdline", "environ"):
        assert b"s3cret" not in (process / public).read_bytes()


def test_nobody_else_may_look_into_the_folder_and_closing_removes_it(asker):
    asker.ask("health")
    folder, child = asker.worker._child._folder, child_of(asker.worker)
    assert folder.stat().st_mode & 0o777 == 0o700
    asker.worker.close()
    assert child.poll() == 0
    assert not folder.exists()


def test_closing_forgets_what_waits(asker, wire_server):
    wire_server.delays["/info/"] = 30.0
    asker.start("connect")
    asker.worker.close()
    asker.worker.pump()
    assert asker.ends == {}
    assert not asker.worker.pending


def test_the_child_does_not_outlive_a_slicer_that_crashed(wire_server, tmp_path):
    script = f"""
import os, sys, time
sys.path.insert(0, {str(LIBRARY)!r})
from UncertaintySegLib.server.worker_client import WorkerClient
worker, got = WorkerClient(), []
worker.call("health", {{"server": {{"url": {wire_server.url!r}, "token": ""}}, "folder": {str(tmp_path)!r}}},
             done=got.append, failed=got.append)
while not got:
    worker.pump()
    time.sleep(0.01)
print(worker._child._process.pid, worker._child._folder, flush=True)
os.kill(os.getpid(), 9)
"""
    crashed = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=30)
    pid, folder = crashed.stdout.split()
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not Path(folder).exists()


def test_answers_come_while_the_host_holds_the_interpreter_lock(asker, wire_server):
    from PySide6 import QtCore

    from slicer_host import event_loop

    assert event_loop.hold_lock
    wire_server.job_states = [SLOW, {"state": "done", "fraction": 1.0}]
    timer = QtCore.QTimer()
    timer.timeout.connect(asker.worker.pump)
    timer.start(10)
    ticket = asker.start("infer", model="phantom_low_rank", image="phantom_1", maps=["predictive_entropy"])
    event_loop.wait_until(lambda: ticket in asker.ends)
    timer.stop()
    assert Path(asker.ends[ticket]["maps"]["predictive_entropy"]).suffix == ".nii"


def test_arguments_that_json_cannot_hold_are_the_callers_error(asker):
    with pytest.raises(TypeError):
        asker.start("health", nonsense=object())
    assert not asker.worker.pending
