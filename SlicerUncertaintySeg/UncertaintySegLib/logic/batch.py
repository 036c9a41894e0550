"""Many cases, segmented and scored in the background, one after another: their results then open at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.server.replies import Model

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Scans of one file each, which is what can be uploaded."""


@dataclass(frozen=True)
class Item:
    """One case: its name on the server, and the file it is uploaded from, None where the server has it."""

    case: str
    file: Path | None = None


def scans_in(folder: Path) -> list[Item]:
    """Return the scans of a folder, in the order of their names; raises `OSError` where it cannot be read."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name.casefold()):
        suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), None)
        if suffix and path.is_file() and not path.name.startswith("."):
            found.append(Item(path.name[: -len(suffix)], path))
    return found


class Batch:
    """Runs a model on cases, beside whatever else is done: the server lets a person's own request go first.

    A case that fails is noted, and the next one begins; where the server cannot be reached, the batch ends.

    Args:
        session: What asks the server.

    Attributes:
        done: How many cases have ended, well or not.
        failed: Why, by case.
        changed: After every change.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.done = 0
        self.failed: dict[str, str] = {}
        self.changed = Signal()
        self._items: list[Item] = []
        self._model: Model | None = None
        self._params: dict[str, Any] = {}
        self._ticket: int | None = None
        self._stage, self._fraction = "", 0.0
        self._end = ""
        self._url = ""

    @property
    def running(self) -> bool:
        """Whether cases are still to be done."""
        return self._ticket is not None

    @property
    def total(self) -> int:
        """How many cases there are in all."""
        return len(self._items)

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        return (self.done + (self._fraction if self.running else 0.0)) / self.total if self.total else 0.0

    @property
    def text(self) -> str:
        """How far it is, in a sentence; empty before the first."""
        if self.running:
            text = _("{case} ({number} of {total}): {stage}")
            case = self._items[self.done].case
            return text.format(case=case, number=self.done + 1, total=self.total, stage=self._stage)
        return self._end

    @property
    def reasons(self) -> str:
        """What failed and why, a line each."""
        return "\n".join(f"{case}: {reason}" for case, reason in self.failed.items())

    def start(self, items: Sequence[Item], model: Model, params: dict[str, Any]) -> None:
        """Begin.

        Args:
            items: The cases.
            model: Which model runs on them.
            params: How, see `RunChoice.params`.
        """
        if self.running or not items:
            return
        self._items, self._model, self._params = list(items), model, dict(params)
        self.done, self.failed, self._end, self._url = 0, {}, "", self.session.url
        self._next()

    def cancel(self) -> None:
        """Stop; what is done stays done."""
        if self._ticket is not None:
            self.session.worker.cancel(self._ticket)

    def _next(self) -> None:
        if self.done >= self.total:
            self._finish(_("{count} of {total} cases are segmented and scored by {model}."))
            return
        if self.session.url != self._url:
            self._finish(_("Stopped after {count} of {total} cases: this is another server now."))
            return
        item = self._items[self.done]
        self._stage, self._fraction = _("waiting"), 0.0
        arguments = {
            "model": self._model.name, "image": item.case, "params": self._params,
            "file": str(item.file) if item.file else None,
        }  # fmt: skip
        self._ticket = self.session.ask(
            "segment_case", arguments, self._on_done, quiet=True, failed=self._on_failed, progress=self._on_progress
        )
        self.changed.emit()

    def _on_progress(self, stage: str, fraction: float, _eta_s: float | None) -> None:
        self._stage, self._fraction = stage, fraction
        self.changed.emit()

    def _on_done(self, answer: dict[str, Any]) -> None:
        if answer.get("failed"):
            self.failed[self._items[self.done].case] = str(answer["failed"])
        self._step()

    def _on_failed(self, error: Exception) -> None:
        if isinstance(error, Cancelled):
            self._finish(_("Stopped after {count} of {total} cases."))
            return
        self.failed[self._items[self.done].case] = str(error)
        if isinstance(error, ServerError) and error.status is None:  # the case failed, or nobody answers at all
            there = {"quiet": True, "failed": self._on_gone}
            self._ticket = self.session.ask("health", {}, lambda _answer: self._step(), **there)
            return
        self._step()

    def _on_gone(self, _error: Exception) -> None:
        self.done += 1
        self._finish(_("Stopped after {count} of {total} cases, for the server does not answer."))

    def _step(self) -> None:
        self.done += 1
        self.session.cases_changed.emit()
        self._next()

    def _finish(self, text: str) -> None:
        self._ticket = None
        well = self.done - len(self.failed)
        self._end = text.format(count=well, total=self.total, model=self._model.name)
        if self.failed:
            self._end += " " + _("{count} failed.").format(count=len(self.failed))
        self.session.cases_changed.emit()
        self.changed.emit()


def size_mb(items: Sequence[Item]) -> float:
    """Return the size of the files that items are uploaded from; raises `OSError` where one has gone."""
    return sum(item.file.stat().st_size for item in items if item.file is not None) / 1e6
