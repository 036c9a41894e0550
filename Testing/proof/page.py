"""docs/proof.md from the JUnit reports of the proofs."""

from __future__ import annotations

import ast
import datetime as dt
import os
import platform
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[2]


class Proof:
    """What one letter's tests said.

    Args:
        letter: Letter in the issue's list and in the files' names.
        tests: The test files; the first line of each docstring becomes a line of the page.
        report: JUnit XML; a missing one counts as a failure.
    """

    def __init__(self, letter: str, tests: list[Path], report: Path) -> None:
        self.letter = letter
        self.titles = [
            (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0] for path in tests
        ]
        self.cases = list(ET.parse(report).iter("testcase")) if report.is_file() else []

    @property
    def passed(self) -> bool:
        return bool(self.cases) and not self.named("failure") and not self.named("error")

    def named(self, outcome: str) -> list[ET.Element]:
        return [case for case in self.cases if case.find(outcome) is not None]

    def figures(self) -> list[tuple[str, str]]:
        return [(p.get("name", ""), p.get("value", "")) for case in self.cases for p in case.iter("property")]

    def skips(self) -> list[str]:
        reasons = {case.find("skipped").get("message", "") for case in self.named("skipped")}
        return sorted(reason.removeprefix("Skipped: ") for reason in reasons)

    def outcome(self) -> str:
        skipped, failed = len(self.named("skipped")), len(self.named("failure")) + len(self.named("error"))
        counts = {"passed": len(self.cases) - skipped - failed, "failed": failed, "skipped": skipped}
        minutes = sum(float(case.get("time", 0)) for case in self.cases) / 60
        return f"{', '.join(f'{n} {name}' for name, n in counts.items() if n) or 'did not run'} in {minutes:.1f} min"


def write_page(path: Path, proofs: list[Proof], *, quick: bool) -> None:
    """Write the page; sections of other letters stay as they are on it."""
    sections = _sections(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sections |= {proof.letter: _section(proof, quick=quick) for proof in proofs}
    title = (
        '# Proof\n\n`make proof` wrote this page; `make proof ARGS="--only a,c"` writes some of its sections anew.\n'
    )
    path.write_text("\n".join([title, *(sections[letter] for letter in sorted(sections))]), encoding="utf-8")


def _sections(page: str) -> dict[str, str]:
    """Those of a page by their letter."""
    return {part[4]: part.rstrip() + "\n" for part in re.split(r"(?m)^(?=## \(\w\) )", page) if part.startswith("## (")}


def _section(proof: Proof, *, quick: bool) -> str:
    """What a proof said, when and where; `quick` is said."""
    lines = [
        f"## ({proof.letter}) {' '.join(proof.titles)}",
        "",
        f"{proof.outcome()}: {_when()}, {_machine()}, {_commit()}.",
    ]
    if quick:
        lines.append("A quick run, for work on the proofs: durations and counts are smaller than in a full one.")
    lines += [f"Skipped: {reason}." for reason in proof.skips()]
    lines += [f"FAILED: `{case.get('name')}`" for outcome in ("failure", "error") for case in proof.named(outcome)]
    if figures := proof.figures():
        lines += ["", "| figure | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures)]
    return "\n".join(lines) + "\n"


def _when() -> str:
    return dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def _commit() -> str:
    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = " with changes not committed" if git("status", "--porcelain", "--untracked-files=no") else ""
    return f"commit {git('rev-parse', '--short=12', 'HEAD') or 'unknown'}{changed}"
