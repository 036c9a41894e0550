"""The next case comes while this one is corrected: its scan, and what the chosen model says of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from UncertaintySegLib.errors import Cancelled
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.cases import Cases
from UncertaintySegLib.logic.inference import unasked
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.server.replies import RISK

_logger = logging.getLogger(__name__)


class Prefetch:
    """Has it all in the downloads before anybody asks, once for each case that is worked on.

    The server is asked which case it would serve and serves it to nobody: nothing is leased before the case is opened.
    Where it serves another one by then, what came is in the cache for whoever opens it.

    Args:
        session: What all sections share.
        cases: Knows which case comes next.
        strategy: Returns the strategy that chooses it.
    """

    def __init__(self, session: Session, cases: Cases, strategy: Callable[[], str]) -> None:
        self.session, self.cases, self.strategy = session, cases, strategy
        self._case = ""
        self._ticket: int | None = None
        session.case_opened.connect(self._look)
        session.result_changed.connect(self._look)
        session.case_closed.connect(self._stop)

    def _look(self) -> None:
        """Begin as soon as the case has all that it came for: its label, or a result."""
        state = self.session.state
        ready = state.sample is not None and (state.label is not None or state.result is not None)
        if ready and state.sample.id != self._case:
            self._case = state.sample.id
            self._begin()

    def _begin(self) -> None:
        session, strategy = self.session, self.strategy()
        self._stop()
        info = session.state.info
        if not (settings.value("prefetch") and info and info.can_prefetch and info.may_work and strategy):
            return
        run = unasked(session)
        arguments = {
            "strategy": strategy,
            "params": {**self.cases.next_params(self.cases.seen | {self._case}), "peek": True},
            "run": {**run, "maps": list(dict.fromkeys([*run["maps"], RISK]))} if run else None,
            "client_id": session.client_id,
        }

        def done(answer: dict[str, Any]) -> None:
            self.cases.expect(strategy, answer["seed"])

        self._ticket = session.ask("prefetch", arguments, done, quiet=True, failed=_note)

    def _stop(self) -> None:
        if self._ticket is not None:
            self.session.worker.cancel(self._ticket)
            self._ticket = None


def _note(error: Exception) -> None:
    """Nobody waits for it: who opens the case is told what is wrong with it."""
    if not isinstance(error, Cancelled):
        _logger.info("The next case was not prefetched: %s", error)
