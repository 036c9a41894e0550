"""Files of the server are its user's alone, and no client writes a line of its log."""

from __future__ import annotations

import io
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monailabel_app.privacy import close_to_others, escaped, log_in_single_lines

FORGED = "[2026-01-01 00:00:00,000] [1] [MainThread] [INFO] (app:1) - forged"


@pytest.fixture(autouse=True)
def single_lines():
    before = logging.getLogRecordFactory()
    log_in_single_lines()
    yield
    logging.setLogRecordFactory(before)


def logged(write) -> list[str]:
    """What a logger writes, in MONAI Label's format."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[%(asctime)s] (%(name)s:%(lineno)d) - %(message)s"))
    logger = logging.getLogger("Testing.single_lines")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    write(logger)
    logger.removeHandler(handler)
    return stream.getvalue().removesuffix("\n").split("\n")


@given(st.text(), st.text())
@example(f"id\n{FORGED}", "")
@example("\x1b[2J\r\u2028\x85\x00\u202e", "\udc80")
def test_a_message_is_one_line_whatever_is_in_it(template, value):
    for lines in (logged(lambda log: log.info(template.replace("%", ""))), logged(lambda log: log.info("%s", value))):
        assert len(lines) == 1
        assert lines[0].isprintable()


def test_text_that_can_be_printed_stays_as_it_is():
    assert escaped("Leber, 5 µm – 肝") == "Leber, 5 µm – 肝"
    assert escaped("a\nb\\n") == "a\\nb\\n"


def test_an_error_with_a_clients_text_does_not_look_like_a_line():
    def fail(log: logging.Logger) -> None:
        try:
            int(f"no image\n{FORGED}\r{FORGED}")
        except ValueError:
            log.exception("failed")

    lines = logged(fail)
    assert lines[0].endswith("failed")
    assert "Traceback" in lines[1]
    assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
@pytest.mark.parametrize(("before", "after"), [(0o022, 0o600), (0o002, 0o600), (0o007, 0o660), (0o027, 0o640)])
def test_others_read_nothing_and_the_group_only_where_the_umask_says_so(tmp_path, before, after):
    program = (
        f"import os; os.umask({before}); from monailabel_app.privacy import keep_private; keep_private();"
        f"open({str(tmp_path / 'new')!r}, 'w').close()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == after


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_what_an_earlier_start_left_open_is_closed(tmp_path):
    (tmp_path / "logs").mkdir(mode=0o777)
    (tmp_path / "logs").chmod(0o755)
    before = os.umask(0o077)
    try:
        close_to_others([tmp_path / "logs", tmp_path / "nowhere"])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_a_server_writes_nothing_that_others_may_read(tiny_server):
    image = tiny_server.images()[0]
    assert tiny_server.infer(tiny_server.baseline, image)["state"] == "done"
    scan = (tiny_server.studies / f"{image}.nii.gz").read_bytes()
    session = tiny_server.http.put("/session/", files={"files": ("a.nii.gz", scan)}).json()["session_id"]
    home = tiny_server.studies.parent
    found = [p for top in ("state", "sessions") for p in (home / top).rglob("*")]
    found += list((tiny_server.folder / "cache").rglob("*"))
    assert {"app.log", "a.nii.gz", "report.json"} <= {path.name for path in found}
    assert not [str(path) for path in found if path.is_file() and readable_by_others(path)]
    tiny_server.http.delete(f"/session/{session}")


def readable_by_others(path: Path) -> bool:
    """Whether a file is, and all folders above it let others in, up to those that the test made."""
    return all(each.stat().st_mode & 0o077 for each in (path, path.parent, path.parent.parent))


def test_no_line_of_a_servers_log_is_a_clients(tiny_server):
    forged = f"x\n{FORGED}"
    http = tiny_server.http
    http.post("/infer/" + tiny_server.model, params={"image": forged})
    http.post("/uncertainty/v1/jobs", json={"kind": "infer", "model": forged, "image": forged})
    http.get("/datastore/image", params={"image": forged})
    http.head("/datastore/label", params={"image": forged, "tag": forged})
    http.put("/datastore/image", params={"image": forged}, files={"file": ("a.nii.gz", b"no")})
    http.get("/nowhere", params={"a": forged})
    http.get("/session/" + forged.replace("\n", "%0A"))
    http.post("/train/", json={"model": forged})
    assert not [
        line for line in tiny_server.log.read_text(encoding="utf-8").splitlines() if line.startswith(FORGED[:20])
    ]
