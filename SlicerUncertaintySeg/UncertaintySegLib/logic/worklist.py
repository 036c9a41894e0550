"""The table of all cases of a server: what stands in it, which rows are shown, and in what order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.server.label_replies import APPROVED, FLAGGED, TO_REVIEW
from UncertaintySegLib.server.looked_at import LookedAt
from UncertaintySegLib.server.replies import CaseRow

LABELLED, MISSING = "labelled", "missing"


def state(case: CaseRow) -> str:
    """Return where a case stands, in a word."""
    if case.status == LABELLED:
        review = case.final.review if case.final is not None else None
        reviewed = {APPROVED: _("approved"), FLAGGED: _("flagged")}
        return reviewed.get(review.status if review is not None else TO_REVIEW, _("labelled"))
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


def looked_at(told: LookedAt | None) -> str:
    """Return what was looked at before a label was saved; empty where nobody said."""
    if told is None:
        return ""
    text = _("In {seconds:.0f} s, {seen} of {regions} regions were looked at, {left} were not.")
    return text.format(seconds=told.seconds, seen=told.seen, regions=told.regions, left=told.not_looked_at)


def reviewed(case: CaseRow) -> str:
    """Return who reviewed its label, and what they said of it; empty where nobody did."""
    review = case.final.review if case.final is not None else None
    if review is None:
        return ""
    texts = {
        APPROVED: _("Approved by {name}."), FLAGGED: _("Flagged by {name}."), TO_REVIEW: _("Yet to be reviewed.")
    }  # fmt: skip
    said = texts.get(review.status, texts[TO_REVIEW]).format(name=review.approved_by or _("nobody known"))
    return f"{said} {review.comment}".strip()


def is_to_review(case: CaseRow) -> bool:
    """Whether a case has a label that nobody has approved or flagged yet."""
    review = case.final.review if case.final is not None else None
    return case.status == LABELLED and (review is None or review.status == TO_REVIEW)


def _is_mine(case: CaseRow) -> bool:
    return bool((case.final and case.final.mine) or (case.lease and case.lease.mine))


def _has_status(status: str) -> Callable[[CaseRow], bool]:
    return lambda case: bool(case.final and case.final.review and case.final.review.status == status)


QUEUES: dict[str, tuple[str, Callable[[CaseRow], bool]]] = {
    "": (_("all cases"), lambda _case: True),
    "open": (_("without a label"), lambda case: case.status not in (LABELLED, MISSING)),
    "to review": (_("to review"), is_to_review),
    FLAGGED: (_("flagged"), _has_status(FLAGGED)),
    APPROVED: (_("approved"), _has_status(APPROVED)),
    "mine": (_("mine"), _is_mine),
}
"""Which cases a table may be narrowed to: what each is called, and whether a case belongs to it."""


_KEYS: tuple[Callable[[CaseRow], Any], ...] = (
    lambda case: case.id.casefold(),
    state,
    lambda case: float("-inf") if case.score is None else case.score,
    holder,
)


def arranged(
    cases: Iterable[CaseRow], text: str = "", column: int = 0, descending: bool = False, queue: str = ""
) -> list[CaseRow]:
    """Return the cases to show.

    Args:
        cases: All of them.
        text: Only cases whose id, state or holder have every word of it, in any case of letters.
        column: What to sort by: 0 id, 1 state, 2 score, 3 who has it.
        descending: Largest first.
        queue: One of `QUEUES`.
    """
    words, belongs = text.casefold().split(), QUEUES[queue][1]
    found = [case for case in cases if belongs(case) and (not words or all(word in _text(case) for word in words))]
    return sorted(found, key=_KEYS[column], reverse=descending)


def _text(case: CaseRow) -> str:
    return f"{case.id} {state(case)} {holder(case)}".casefold()
