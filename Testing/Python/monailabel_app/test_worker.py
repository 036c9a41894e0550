"""The process that does the work starts with nothing that the work does not need."""

from __future__ import annotations

import os
import subprocess
import sys

WORK = """
import sys
from dataclasses import dataclass
from typing import ClassVar

from monailabel_app.jobs import Work


@dataclass(frozen=True)
class Ask(Work):
    key: ClassVar[None] = None

    def run(self, report):
        return sorted({"program", "colorsys", "monailabel", "fastapi"} & set(sys.modules))
"""
PROGRAM = """
import colorsys  # as the stock command imports MONAI Label

from monailabel_app.jobs import Worker
from work_of_a_test import Ask

if __name__ == "__main__":
    worker = Worker()
    print(worker.submit(Ask()).result())
    worker.close()
"""


def test_a_worker_does_not_import_the_program_that_the_server_runs_in(tmp_path):
    (tmp_path / "work_of_a_test.py").write_text(WORK)
    (tmp_path / "program.py").write_text(PROGRAM)
    search = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.stdout.strip() == "[]", done.stderr
