"""What `uncertaintyseg plan` prints for people: what is wrong, what was chosen and why, what is next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Column, Table

from uncertaintyseg.cli.console import console
from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from uncertaintyseg.planning.choices import Choice
    from uncertaintyseg.planning.facts import Problem
    from uncertaintyseg.planning.fingerprint import Fingerprint
    from uncertaintyseg.planning.following import Next
    from uncertaintyseg.planning.plan import Plan

_SHOWN = 10
"""Names of cases in a line."""
_WIDE = 110
"""Columns that a table of four takes."""
_INDENT = " " * 4


def usable(fingerprint: Fingerprint, skip_bad: bool) -> Fingerprint:
    """The fingerprint, without the cases that cannot be used where that was asked for.

    Raises:
        InputError: there are errors; of several each has been printed.
    """
    if skip_bad and fingerprint.bad:
        console.print(
            f"[yellow]Left out,[/yellow] here and by train: {escape(_counted(fingerprint.bad))}; why: on the page.",
            highlight=False,
            soft_wrap=True,
        )
        fingerprint = fingerprint.without(fingerprint.bad)
    errors = fingerprint.errors
    if not errors:
        return fingerprint
    way = "Mend the cases, or leave them out with --skip-bad." if fingerprint.bad else ""
    if len(errors) == 1:
        raise InputError(f"{_line(errors[0])} {way}".rstrip())
    for problem in errors:
        _print("red", "Error", _line(problem))
    whole = sum(problem.case_id is None for problem in errors)
    said = [f"{_counted(fingerprint.bad)} cannot be used."] if fingerprint.bad else []
    said += [f"{whole} error{'s' if whole > 1 else ''} of the data set as a whole."] if whole else []
    raise InputError(f"{' '.join(said)} {way}".rstrip())


def tell(fingerprint: Fingerprint, made: Plan) -> None:
    """Warnings, then every choice with its reason."""
    from uncertaintyseg.planning.explained import validation_doubt

    warnings = [problem for problem in fingerprint.problems if problem.severity == "warning"]
    lines = warning_lines(warnings)
    for line in lines:
        _print("yellow", "Warning", line)
    if len(lines) < len(warnings):
        console.print("What each of these cases has is on the page.", highlight=False)
    if doubt := validation_doubt(made):
        _print("yellow", "Warning", doubt)
    if console.width >= _WIDE:
        console.print(_table(made.choices))
        return
    for choice in made.choices:
        flag = f"  [dim]{choice.flag}[/dim]" if choice.flag else ""
        console.print(f"[bold]{escape(choice.name)}[/bold]{flag}", highlight=False)
        for text in (choice.value, choice.why):
            lines = textwrap.wrap(text, console.width, initial_indent=_INDENT, subsequent_indent=_INDENT)
            console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def tell_next(steps: Sequence[Next], folder: Path, page: Path) -> None:
    """Where all is, and what to run."""
    where = f"The model to train is in {folder}; what was found and why: {page}"
    console.print(f"{where}. Next:", highlight=False, soft_wrap=True, markup=False)
    for step in steps:
        why = step.why if step.command else f"Not yet: {step.why}"
        console.print(f"  # {why}", style="dim", highlight=False, soft_wrap=True, markup=False)
        if step.command:
            console.print(f"  {step.command}", highlight=False, soft_wrap=True, markup=False)


def warning_lines(warnings: Iterable[Problem]) -> list[str]:
    """A line for each kind of warning that several cases have, and for each other one."""
    from uncertaintyseg.planning.grouping import by_kind

    lines: list[str] = []
    for group in by_kind(warnings):
        of_cases = {one.case_id: one for one in group.problems if one.case_id}
        if len(of_cases) < 2:
            lines += map(_line, group.problems)
            continue
        first, *_ = of_cases.values()
        title = f"{group.title[0].lower()}{group.title[1:]}"
        lines.append(f"{_counted(list(of_cases))}: {title}. Case {first.case_id}: {first.text}")
        lines += [one.text for one in group.problems if not one.case_id]
    return lines


def _counted(ids: Sequence[str]) -> str:
    """2 cases (a, b)."""
    names = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
    return f"{len(ids)} case{'' if len(ids) == 1 else 's'} ({names})"


def _table(choices: Iterable[Choice]) -> Table:
    table = Table(Column("choice", no_wrap=True), "value", "why", Column("flag", no_wrap=True))
    for choice in choices:
        table.add_row(choice.name, escape(choice.value), escape(choice.why), choice.flag or "")
    return table


def _print(colour: str, word: str, text: str) -> None:
    console.print(f"[{colour}]{word}:[/{colour}] {escape(text)}", highlight=False, soft_wrap=True)


def _line(problem: Problem) -> str:
    return f"case {problem.case_id}: {problem.text}" if problem.case_id else problem.text
