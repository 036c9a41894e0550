"""The ways our own code refuses to go on."""

from __future__ import annotations


class UncertaintySegError(Exception):
    """Something a user can act on; its text is one clear sentence for the status line."""


class ServerError(UncertaintySegError):
    """The server is absent, unreachable, or refused a request.

    Attributes:
        status: HTTP status of the refusal, or None when there was no answer.
        field: What a person has to look at: "address", "token", or "" where it is neither.
    """

    def __init__(self, message: str, status: int | None = None, field: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.field = field


class SceneError(UncertaintySegError):
    """A file cannot become a node, or a node cannot become a file."""


class Cancelled(UncertaintySegError):
    """The user stopped the work. A progress callback raises it to stop what it reports on."""
