"""The table of all cases of a server: what stands in it, which rows are shown, and in what order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.server.replies import CaseRow

LABELLED, MISSING = "labelled", "missing"


def state(case: CaseRow) -> str:
    """Return where a case stands, in a word."""
    if case.status == LABELLED:
        return _("labelled")
    if case.status == MISSING:
        return _("missing")
    if case.lease:
        return _("yours") if case.lease.mine else _("taken")
    return _("skipped") if case.skipped else _("open")


def holder(case: CaseRow) -> str:
    """Return who has a case and until when; empty where it is free."""
    if case.lease is None:
        return ""
    clock = time.strftime("%H:%M", time.localtime(case.lease.until))
    text = _("you, until {time}") if case.lease.mine else _("{annotator}, until {time}")
    return text.format(annotator=case.lease.annotator, time=clock)


def looked_at(case: CaseRow) -> str:
    """Return what was looked at before its label was saved; empty where nobody said."""
    told = case.looked_at
    if told is None:
        return ""
    text = _("{seen} of {regions} regions were looked at, in {seconds:.0f} s.")
    return text.format(seen=told.seen, regions=told.regions, seconds=told.seconds)


_KEYS: tuple[Callable[[CaseRow], Any], ...] = (
    lambda case: case.id.casefold(),
    state,
    lambda case: float("-inf") if case.score is None else case.score,
    holder,
)


def arranged(cases: Iterable[CaseRow], text: str = "", column: int = 0, descending: bool = False) -> list[CaseRow]:
    """Return the cases to show.

    Args:
        cases: All of them.
        text: Only cases whose id, state or holder have every word of it, in any case of letters.
        column: What to sort by: 0 id, 1 state, 2 score, 3 who has it.
        descending: Largest first.
    """
    words = text.casefold().split()
    found = [case for case in cases if all(word in _text(case) for word in words)] if words else list(cases)
    return sorted(found, key=_KEYS[column], reverse=descending)


def _text(case: CaseRow) -> str:
    return f"{case.id} {state(case)} {holder(case)}".casefold()
