"""The audit log: only appended to, whole lines, on the disk before anything is acknowledged."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from monailabel_app.api import audit
from uncertaintyseg.errors import StorageError
from uncertaintyseg.tokens import Identity, Role

DAY = "2026-05-01"


@pytest.fixture
def log(tmp_path) -> audit.AuditLog:
    return audit.AuditLog(tmp_path / "audit")


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "audit" / f"audit-{DAY}.jsonl"


def entry(number: int = 0, day: str = DAY) -> dict:
    return {"time": f"{day}T10:00:00.000+00:00", "event": "save", "number": number}


def test_a_line_says_who_did_what_from_where(log, monkeypatch):
    monkeypatch.setattr(audit, "_log", lambda: log)
    token = audit.caller.set((Identity("anna", Role.annotator), "192.0.2.7"))
    audit.audit("save", case="a", voxels_changed=3)
    audit.caller.reset(token)
    audit.audit("start")
    newest, first = log.last(10)
    assert {k: v for k, v in first.items() if k != "time"} == {
        "event": "save", "who": "anna", "role": "annotator", "address": "192.0.2.7", "case": "a", "voxels_changed": 3,
    }  # fmt: skip
    assert newest["who"] == "server"
    assert first["time"].endswith("+00:00")


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_only_the_servers_user_may_read_it(log, file):
    log.append(entry())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_new_day_is_a_new_file_and_no_line_is_lost(log, file):
    for number, day in enumerate([DAY, "2026-05-02", DAY, "2026-05-03"]):
        log.append(entry(number, day))
    assert len(list(file.parent.iterdir())) == 3
    assert [line["number"] for line in log.last(10)] == [3, 1, 2, 0]
    assert [line["number"] for line in log.last(2)] == [3, 1]


def test_text_of_clients_stays_on_its_line(log, file):
    log.append({**entry(), "case": 'a\nb"}\u2028\ud800{"event": "login"}'})
    assert len(file.read_bytes().splitlines()) == 1
    assert log.last(10)[0]["event"] == "save"


def test_many_threads_write_whole_lines(log, file):
    threads = [
        threading.Thread(target=lambda n=n: [log.append(entry(n * 100 + i)) for i in range(20)]) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [json.loads(line)["number"] for line in file.read_text().splitlines()]
    assert sorted(numbers) == sorted(n * 100 + i for n in range(8) for i in range(20))


def test_a_line_cut_short_costs_no_other(log, file):
    log.append(entry(1))
    with file.open("ab") as stream:
        stream.write(b'{"time": "2026-05-01", "ev')
    log.append(entry(2))
    assert [line["number"] for line in log.last(10)] == [2, 1]
    assert file.read_bytes().count(b"\n") == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_and_never_silent(log, file):
    file.parent.mkdir()
    file.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        log.append(entry())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_a_killed_process_has_every_line_it_was_told_of(log, file):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for number in range(10**6):
            log.append(entry(number))
            os.write(writing, b"%d\n" % number)
    os.close(writing)
    told = b""
    while told.count(b"\n") < 100:
        told += os.read(reading, 4096)
    os.kill(child, signal.SIGKILL)
    while more := os.read(reading, 65536):
        told += more
    os.waitpid(child, 0)
    os.close(reading)
    acknowledged = [int(number) for number in told.split()]
    written = [json.loads(line)["number"] for line in file.read_bytes().split(b"\n")[: len(acknowledged)]]
    assert written == acknowledged


def test_of_the_results_only_the_newest_cases_are_remembered(monkeypatch):
    monkeypatch.setattr(audit, "_CASES", 3)
    results = audit.LastResults()
    for number in range(5):
        results.note(f"case{number % 4}", f"key{number}")
    assert [results.of(f"case{number}") for number in range(4)] == ["key4", None, "key2", "key3"]
