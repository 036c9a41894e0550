"""Conditional requests: what a client has already is not sent again (RFC 9110, section 13.1.2)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

IfNoneMatch = Annotated[str | None, Header(description="ETags of what the client has.")]


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether a client has what an ETag stands for, weak or not."""
    known = [part.strip().removeprefix("W/") for part in (if_none_match or "").split(",")]
    return tag.removeprefix("W/") in known or "*" in known
