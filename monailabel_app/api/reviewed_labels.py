"""Reviews of labels, whichever route brings them: who may say what, and the server's own word on who and when."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from monailabel_app.api.audit import caller
from monailabel_app.api.auth import LOCAL, acting_as, require
from monailabel_app.errors import TakenError
from monailabel_app.store.records import CurrentLabel
from monailabel_app.store.review_status import APPROVED, META, asked_for, review_of, takes_review
from uncertaintyseg.errors import InputError
from uncertaintyseg.tokens import Role


def stamped(info: dict[str, Any], tag: str, label: CurrentLabel | None) -> dict[str, Any]:
    """Return what a client wants noted of a label, with who reviewed it and when as the server knows it.

    A name that a client gives counts where nobody logs in, and is marked as not verified.

    Args:
        info: What it wants; without `segmentationMeta` it stays as it is.
        tag: Of the label.
        label: What counts now; None where another one is about to.

    Raises:
        InputError: The review makes no sense, or a label of this tag takes none.
        ForbiddenError: It approves, or takes an approval back, and the caller is no reviewer.
        TakenError: It is of another version than the one that counts.
    """
    if META not in info:
        return info
    asked = asked_for(info[META])
    if not takes_review(tag):
        raise InputError(f"a label {tag!r} takes no review: only final, original and version_1, version_2... do")
    before = review_of(label.info) if label is not None else None
    if APPROVED in (asked.status, before and before.status):
        require(Role.reviewer)()
    seen = info[META].get("version")
    if seen is not None and label is not None and seen != label.version.id:
        raise TakenError(f"another label counts since (version {label.version.id}): look at it first")
    who = acting_as(info[META].get("approvedBy"))
    review = replace(asked, approved_by=who, edit_time=int(time.time()), verified=caller.get()[0] != LOCAL)
    return {**info, META: review.as_meta()}


def about_review(info: dict[str, Any]) -> dict[str, Any]:
    """Return what the audit trail says of the review in a label's record; nothing without one."""
    review = review_of(info)
    return {} if review is None else {"status": review.status, "level": review.level, "reviewer": review.approved_by}
