"""The command line, run in this process as its entry point runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from uncertaintyseg.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be JSON and nothing else."""
        return json.loads(self.out)

    @property
    def message(self) -> str:
        """The one line of a user's mistake: exit 2, nothing on stdout, no traceback."""
        assert self.code == 2, self
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("uncertaintyseg: ")
        return line


@pytest.fixture
def command(monkeypatch, capfd) -> Callable[..., Ended]:
    """`command("predict", model, image)` as typed in a shell."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["uncertaintyseg", *map(str, arguments)])
        capfd.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        return Ended(code, *capfd.readouterr())

    return run


@pytest.fixture
def models(tiny_bundle):
    """Makes a bundle and returns the options that make the command find it."""

    def make(*arguments: object, **options: object) -> tuple[str, str, str]:
        bundle = tiny_bundle(*arguments, **options)
        return bundle.name, "--models", str(bundle.folder.parent)

    return make
