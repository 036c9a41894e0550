"""How fast the work goes: seconds a case, cases an hour, expected error taken away an hour; in words and as a CSV."""

from __future__ import annotations

import csv
import io
import os
import statistics
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings, sizes
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.server.sizes import ML

FILE = "uncertaintyseg_work.csv"


@dataclass(frozen=True)
class Row:
    """One submitted case, as a line of the CSV; the names are its headings.

    Attributes:
        time_utc: When it was submitted, ISO 8601.
        server, case, model, method: What was worked on, and by which method the model was run; empty where unknown.
        seconds_active, seconds_open: At work on it, idle time left out, and since it was opened.
        regions, seen, not_looked_at, accepted, dismissed: As `logic.attention` counts them.
        changed_voxels, changed_ml: How much of the label was drawn by hand.
        expected_error_before_ml: What was expected to be wrong when the case began.
        expected_error_after_ml: What the server's last review expected to be wrong still.
        expected_error_removed_ml: The difference. The three are empty where the server has not said.
        size_unit: What those in `_ml` are counted in: "mL", or "mm2" or "px" of images and clips.
    """

    time_utc: str
    server: str
    case: str
    model: str
    method: str
    seconds_active: float
    seconds_open: float
    regions: int
    seen: int
    not_looked_at: int
    accepted: int
    dismissed: int
    changed_voxels: int
    changed_ml: float
    expected_error_before_ml: float | None
    expected_error_after_ml: float | None
    expected_error_removed_ml: float | None
    size_unit: str = ML


HEADINGS = [field.name for field in fields(Row)]


class Pace:
    """Notes what was submitted since Slicer was started, and writes a line of it into the CSV.

    Args:
        session: Whose labels are submitted.

    Attributes:
        rows: One a submitted case, oldest first.
        problem: Why the file lacks the last rows; empty where it has all. They are written with the next one.
        changed: After a new row.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rows: list[Row] = []
        self.problem = ""
        self.changed = Signal()
        self._unwritten: list[Row] = []
        self._base: object = None
        self._is_outdated = False
        session.case_opened.connect(self._on_case)
        session.result_changed.connect(self._on_result)
        for signal in (session.review_wanted, session.label_restored):
            signal.connect(self._on_edit)
        session.submitted.connect(self._on_submitted)

    @property
    def file(self) -> Path:
        """Of the CSV: in the folder that the user chose, or beside Slicer's settings."""
        chosen = settings.value("workFolder")
        own = Path(slicer.app.slicerUserSettingsFilePath).parent / "UncertaintySeg"
        return (Path(chosen) if chosen else own) / FILE

    @property
    def text(self) -> str:
        """How fast the work goes, in a sentence; empty before the first case."""
        if not self.rows:
            return ""
        seconds = [row.seconds_active for row in self.rows]
        hours = sum(seconds) / 3600
        one, more = _("1 case in {seconds:.0f} s"), _("{count} cases, {seconds:.0f} s each (median)")
        said = (one if len(self.rows) == 1 else more).format(count=len(seconds), seconds=statistics.median(seconds))
        if not hours:
            return _("{said}.").format(said=said)
        pace = _("{said}; {cases:.0f} an hour.").format(said=said, cases=len(seconds) / hours)
        unit = self.rows[-1].size_unit  # volumes and areas have no sum
        rows = [row for row in self.rows if row.size_unit == unit and row.seconds_active]
        known = [row for row in rows if row.expected_error_removed_ml is not None]
        if not known:
            return pace
        removed = sum(row.expected_error_removed_ml for row in known)
        an_hour = 3600 * removed / sum(row.seconds_active for row in known)
        less = _("{pace} Expected error taken away: {removed:.2f} {unit}, {an_hour:.2f} {unit} an hour.")
        more = _("{pace} Expected error grew by {added:.2f} {unit}.")
        told = {"removed": removed, "an_hour": an_hour, "added": -removed, "unit": sizes.shown(unit)}
        return (less if removed >= 0 else more).format(pace=pace, **told)

    def _on_case(self) -> None:
        self._base = None

    def _on_result(self) -> None:
        state = self.session.state
        left = state.result.remaining_error_ml if state.result is not None else None
        if self._base is not None and state.base is not self._base:
            state.error_before_ml = None  # it begins anew; of a draft, it is known before the first result
        self._base = state.base
        if state.error_before_ml is None:
            state.error_before_ml = left
        self._is_outdated = left is None

    def _on_edit(self) -> None:
        self._is_outdated = True

    def _on_submitted(self) -> None:
        state = self.session.state
        sent, told = state.submitted, state.submitted.looked_at
        result = state.result
        after = None if self._is_outdated or result is None else result.remaining_error_ml
        before = state.error_before_ml
        known = before is not None and after is not None
        seconds = round(max(told["seconds"] - state.seconds_counted, 0.0), 1)
        row = Row(
            time_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), server=self.session.url, case=sent.case,
            model=sent.model, method=sent.method, seconds_active=seconds, seconds_open=sent.seconds_open,
            **{name: told[name] for name in ("regions", "seen", "not_looked_at", "accepted", "dismissed")},
            changed_voxels=sent.changed_voxels, changed_ml=round(sent.changed_ml, 4),
            expected_error_before_ml=_rounded(before), expected_error_after_ml=_rounded(after),
            expected_error_removed_ml=round(before - after, 4) if known else None, size_unit=sent.size_unit,
        )  # fmt: skip
        state.seconds_counted = told["seconds"]  # who submits a case again has worked on it since
        state.error_before_ml = before if after is None else after
        self.rows.append(row)
        self._unwritten.append(row)
        self._write()
        self.changed.emit()

    def _write(self) -> None:
        try:
            append(self.file, self._unwritten)
        except OSError as error:
            text = _("{file} cannot be written ({error}); its {count} rows are written with the next case.")
            reason = error.strerror or str(error)
            self.problem = text.format(file=self.file, error=reason, count=len(self._unwritten))
            return
        self._unwritten.clear()
        self.problem = ""


def append(file: Path, rows: list[Row]) -> None:
    """Add rows to a CSV, whole or not at all; a new file gets headings.

    A file that has other headings, of another version say, stays as it is: another one is begun beside it.

    Raises:
        OSError: It cannot be written, because the disk is full or another program has it open.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file = next(path for path in _candidates(file) if _fits(path))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if not (file.exists() and file.stat().st_size):
        writer.writerow(HEADINGS)
    writer.writerows(asdict(row).values() for row in rows)
    with file.open("ab") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            stream.write(text.getvalue().encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())  # some disks say only now that they are full
        except OSError:
            os.ftruncate(stream.fileno(), size)  # no half line
            raise


def _candidates(file: Path):
    yield file
    number = 2
    while True:
        yield file.with_name(f"{file.stem}-{number}{file.suffix}")
        number += 1


def _fits(file: Path) -> bool:
    if not file.exists():
        return True
    with file.open(encoding="utf-8", errors="replace", newline="") as stream:
        first = stream.readline().strip()
    return first in ("", ",".join(HEADINGS))


def _rounded(ml: float | None) -> float | None:
    return None if ml is None else round(ml, 4)
