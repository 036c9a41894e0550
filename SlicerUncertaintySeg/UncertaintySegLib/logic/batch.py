"""Many cases, segmented and scored in the background, one after another: their results then open at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import Cancelled, SceneError, ServerError
from UncertaintySegLib.logic import headers
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.server.replies import Model
from UncertaintySegLib.server.sizes import TIME

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""Scans of one file each, or one a channel, which is what can be uploaded."""
_CHANNEL = re.compile(r"(.+)_(\d{4})")
"""Name of the case, and number of the channel."""


@dataclass(frozen=True)
class Item:
    """One case: its name on the server, and the file it is uploaded from, None where the server has it.

    Of a scan of several channels it is the first one's file, and `channels` are those of the others, in order. An
    `axis` of "time" says that it is a clip; of an image or a clip the spacing may be unknown.
    """

    case: str
    file: Path | None = None
    channels: tuple[Path, ...] = ()
    axis: str = ""
    spacing_known: bool = True


def as_pictures(items: Iterable[Item], *, clips: bool, spacing_known: bool) -> list[Item]:
    """Return files as images and clips.

    Args:
        items: One file each.
        clips: Whether the third axis of those of several slices is time; one that notes it itself is a clip anyway.
        spacing_known: Of all of them.

    Raises:
        OSError: A file cannot be read.
        SceneError: A file has several slices, and nobody says that they are frames.
    """
    found = []
    for item in items:
        header = headers.read(item.file)
        several = (header.slices or 1) > 1
        if several and not (clips or header.is_clip):
            text = _(
                "{file} has {count} slices, and the model takes images and clips: tick 'Slices are frames of clips' "
                "if the third axis of these files is time, or choose a model of volumes."
            )
            raise SceneError(text.format(file=item.file.name, count=header.slices))
        found.append(replace(item, axis=TIME if several else "", spacing_known=spacing_known))
    return found


def scans_in(folder: Path, channels: Sequence[str] = ()) -> list[Item]:
    """Return the scans of a folder, in the order of their names.

    Args:
        folder: With a file a scan, or a channel.
        channels: What the model takes; of several, files are named `<case>_0000`, `<case>_0001` and so on.

    Raises:
        OSError: The folder cannot be read.
        SceneError: A file is none of a case that has all channels.
    """
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name.casefold()):
        suffix = next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), None)
        if suffix and path.is_file() and not path.name.startswith("."):
            found.append(Item(path.name[: -len(suffix)], path))
    return _joined(found, channels) if len(channels) > 1 else found


def _joined(files: Sequence[Item], channels: Sequence[str]) -> list[Item]:
    """Return one item a case, of the files of its channels."""
    cases: dict[str, dict[int, Path]] = {}
    for item in files:
        match = _CHANNEL.fullmatch(item.case)
        cases.setdefault(match[1] if match else item.case, {})[int(match[2]) if match else -1] = item.file
    for found in cases.values():
        if sorted(found) != list(range(len(channels))):
            text = _(
                "{file}: the model takes {count} channels ({names}), one file each: name those of a case CASE_0000, "
                "CASE_0001 and so on, and put nothing else into the folder."
            )
            file = found[min(found)].name
            raise SceneError(text.format(file=file, count=len(channels), names=", ".join(channels)))
    return [
        Item(case, found[0], tuple(found[number] for number in range(1, len(found)))) for case, found in cases.items()
    ]


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
            "file": str(item.file) if item.file else None, "axis": item.axis, "spacing_known": item.spacing_known,
        }  # fmt: skip
        if item.channels:
            arguments["channels"] = [str(file) for file in item.channels]
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
    files = [file for item in items if item.file is not None for file in (item.file, *item.channels)]
    return sum(file.stat().st_size for file in files) / 1e6
