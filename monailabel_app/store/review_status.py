"""What a reviewer said of a label: `segmentationMeta` in its record, as MONAI Label's MONAILabelReviewer keeps it.

That module (`plugins/slicer/MONAILabelReviewer/MONAILabelReviewerLib` of Project-MONAI/MONAILabel) reads all five
fields or none (`JsonParser.produceSegementationData`), takes the tag's number from behind its underscore
(`SegmentationMeta.setVersionNumber`) and the last tag for the newest (`ImageData.getLatestVersionTag`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from uncertaintyseg import wire
from uncertaintyseg.errors import InputError

META = "segmentationMeta"
APPROVED, FLAGGED = "approved", "flagged"
STATUSES = ("", APPROVED, FLAGGED)
"""The first stands for a label that nobody has reviewed yet."""
LEVELS = ("", "easy", "medium", "hard")
"""How hard the case is to segment."""
COMMENT = 10_000
"""Characters that a comment may have."""

_UNREVIEWED = ("segmented", "not segmented")  # what that module calls a label without a status
_TAG = re.compile(r"final|original|[^_]*_(\d{1,9})")


@dataclass(frozen=True)
class ReviewStatus:
    """One review.

    Attributes:
        status: One of `STATUSES`.
        level: One of `LEVELS`.
        comment: Of whoever reviewed.
        approved_by: Who reviewed; the field has this name whatever the status.
        edit_time: When, in seconds since 1970.
        verified: Whether a token said who it was.
    """

    status: str = ""
    level: str = ""
    comment: str = ""
    approved_by: str = ""
    edit_time: int = 0
    verified: bool = False

    def as_meta(self) -> dict[str, Any]:
        """Return it as a record has it; `verified` is ours."""
        return {
            "status": self.status,
            "level": self.level,
            "approvedBy": self.approved_by,
            "comment": self.comment,
            "editTime": self.edit_time,
            "verified": self.verified,
        }


def asked_for(meta: Any) -> ReviewStatus:
    """Read what a client asks for; who and when is not the client's to say.

    Raises:
        InputError: No object, or a field is none of its values.
    """
    if not isinstance(meta, dict):
        raise InputError(f"{META}: must be a JSON object")
    status, level, comment = (meta.get(name) or "" for name in ("status", "level", "comment"))
    status = "" if status in _UNREVIEWED else status
    if status not in STATUSES:
        raise InputError(f"{META}.status: give one of {APPROVED}, {FLAGGED} or nothing")
    if level not in LEVELS:
        raise InputError(f"{META}.level: give one of {', '.join(LEVELS[1:])} or nothing")
    if not isinstance(comment, str) or len(comment) > COMMENT:
        raise InputError(f"{META}.comment: give a text of {COMMENT} characters at most")
    return ReviewStatus(status, level, comment)


def review_of(info: Mapping[str, Any]) -> ReviewStatus | None:
    """Read the review in a label's record; None without one. What makes no sense counts as empty."""
    meta = info.get(META)
    if not isinstance(meta, dict) or not meta:
        return None
    edit_time = meta.get("editTime")
    is_time = isinstance(edit_time, int | float) and not isinstance(edit_time, bool) and 0 <= edit_time < 2**36
    texts = {name: value if isinstance(value := meta.get(name), str) else "" for name in ("comment", "approvedBy")}
    return ReviewStatus(
        meta["status"] if meta.get("status") in STATUSES else "",
        meta["level"] if meta.get("level") in LEVELS else "",
        texts["comment"],
        texts["approvedBy"],
        int(edit_time) if is_time else 0,
        meta.get("verified") is True,
    )


def shown_review(info: Mapping[str, Any]) -> wire.LabelReview | None:
    """Return `review_of` as the wire has it."""
    review = review_of(info)
    return None if review is None else wire.LabelReview(**asdict(review))


def without_review(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return a label's record less what a reviewer said of it."""
    return {name: value for name, value in info.items() if name != META}


def takes_review(tag: str) -> bool:
    """Whether a label of this tag can be reviewed: MONAILabelReviewer stops at a review of any other."""
    return _TAG.fullmatch(tag) is not None


def place(tag: str) -> tuple[int, int, str]:
    """What to sort the tags of an image by, the newest last."""
    number = _TAG.fullmatch(tag)
    return (0, 0, tag) if number is None else (1, int(number[1] or 0), tag)
