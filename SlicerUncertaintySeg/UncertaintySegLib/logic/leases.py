"""A case stays with whoever has it open: its lease is renewed meanwhile, and given back in the end."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.session import Session

_TAKEN = 409


def lease_arguments(session: Session) -> dict[str, Any]:
    """Return how long others do not get a case, as requests take it; who may only look takes it from nobody."""
    minutes = 0 if session.state.read_only else settings.value("leaseMinutes")
    return {"client_id": session.client_id, "lease_minutes": minutes}


class Lease:
    """Of the case that is open. The server ends the one before when another case is taken.

    A timer must call `renew` every `seconds`.

    Args:
        session: Whose case.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._image = ""
        session.case_opened.connect(self._hold)
        session.case_closed.connect(self.give_back)

    @property
    def seconds(self) -> float:
        """How long to wait before renewing: half of what a lease lasts."""
        return 30 * max(1, settings.value("leaseMinutes"))

    def renew(self) -> None:
        """Keep the case for longer; a server that cannot be reached is asked again next time."""
        session, arguments = self.session, lease_arguments(self.session)
        if not self._image or session.busy or session.state.info is None or not arguments["lease_minutes"]:
            return

        def failed(error: Exception) -> None:
            if isinstance(error, ServerError) and error.status == _TAKEN:
                session.fail(_("The case is no longer yours alone: {error}").format(error=error))

        session.ask("renew_lease", {"image": self._image, **arguments}, lambda _answer: None, quiet=True, failed=failed)

    def give_back(self) -> None:
        """Let others have the case."""
        image, self._image = self._image, ""
        if image and self.session.state.info is not None:
            arguments = {"image": image, "client_id": self.session.client_id}
            self.session.ask("give_back", arguments, self._given, quiet=True, failed=lambda _error: None)

    def _hold(self) -> None:
        leased = lease_arguments(self.session)["lease_minutes"] > 0
        self._image = self.session.state.sample.id if leased else ""

    def _given(self, _answer: dict[str, Any]) -> None:
        self.session.cases_changed.emit()
