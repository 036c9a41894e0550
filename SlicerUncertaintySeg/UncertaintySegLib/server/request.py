"""A request that the child process does for the panel: whom it asks, where files go, and who is told how far it is."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from UncertaintySegLib.errors import Cancelled
from UncertaintySegLib.server.client import Client
from UncertaintySegLib.server.files import trim
from UncertaintySegLib.server.replies import Job

Json = dict[str, Any]
Report = Callable[[str, float, "float | None"], None]

TAGS = ("final", "original")
"""Of labels, the better first."""
JOB_SHARE = 0.9
"""Of the progress bar; the rest is the download."""


class Request:
    """One request under way: the server to ask, the folder for files, and whoever wants to know how far it is.

    Args:
        url: Address of the server.
        token: Access token, or empty.
        folder: Where downloads go.
        report: Gets the stage, the fraction (0 to 1) and the seconds left, None where nobody knows.
    """

    def __init__(self, url: str, token: str, folder: Path, report: Report) -> None:
        self.client = Client(url, token or None)
        self.scans, self.results = folder / "scans", folder / "results"
        self.versions = folder / "versions"
        self.labels = {tag: folder / "labels" / tag for tag in TAGS}
        self.report = report
        self._stopped = threading.Event()

    def silent(self) -> Request:
        """Return the same request, but that nobody is told how far it is: `stop` ends both."""
        same = copy.copy(self)
        same.report = lambda *_stage: None
        return same

    def do(self, act: Callable[..., Json], arguments: Mapping[str, Any]) -> Json:
        """Call one of the functions of `requests`. Raises `Cancelled` after `stop`."""
        answer = act(self, **arguments)
        self._check()
        return answer

    def tidy(self) -> None:
        """Remove the oldest downloads, where there are too many; nobody needs to wait for it."""
        trim([self.scans, self.results, self.versions, *self.labels.values()])

    def stop(self) -> None:
        """Make the request end soon, and the server stop its part."""
        self._stopped.set()
        self.client.stop()

    def say(self, stage: str, fraction: float, eta_s: float | None = None) -> None:
        """Report how far the request is. Raises `Cancelled` after `stop`."""
        self._check()
        self.report(stage, min(max(fraction, 0.0), 1.0), eta_s)

    def downloading(self, start: float = 0.0, share: float = 1.0) -> Callable[[float], None]:
        """Return what tells how far a download is, as a share of the request."""
        return lambda fraction: self.say("Downloading", start + share * fraction)

    def job(self, job: Job) -> None:
        """Report the state of a job."""
        waiting = job.state == "queued" and job.queue_position
        stage = f"Waiting for {job.queue_position} other jobs" if waiting else job.stage.capitalize() or "Waiting"
        self.say(stage, JOB_SHARE * job.fraction, job.eta_s)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled("Cancelled.")
