"""Labels that no server has yet, on this computer's disk: what is drawn now, and what could not be sent."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.file_lock import FileLock
from UncertaintySegLib.scene import segments
from UncertaintySegLib.server.sizes import ML

_NOTES, _LOCK = "draft.json", "lock"
_KEPT = 2  # label files: one that is being sent must not vanish when the next is written


@dataclass(frozen=True)
class Draft:
    """A label on disk and what it takes to go on with it.

    Attributes:
        case, url: Of the case, and of the server that has its scan.
        label: Name of the label file in the draft's folder.
        labels: What the label ids are: id, name, rgb, snomed.
        model, result: What the label was made from; empty where nothing was.
        provenance: Of that result.
        seconds_open: How long somebody has worked on it.
        corrections, decisions, seen, seconds_active, seconds_counted, error_before_ml, size_unit: As in `State`.
        changed_voxels: How many differ from the label that the case began with.
        model_ml: Sizes in the model's last answer, by label id as text.
        saved: When, in seconds since 1970.
        params: What the server is told with the label, where it was submitted but could not be sent; else None.
        folder: Where it is; never written to disk.
    """

    case: str
    url: str
    label: str = ""
    labels: list[dict[str, Any]] = field(default_factory=list)
    model: str = ""
    result: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    seconds_open: float = 0.0
    corrections: dict[str, Any] = field(default_factory=dict)
    decisions: list[Any] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)
    seconds_active: float = 0.0
    seconds_counted: float = 0.0
    error_before_ml: float | None = None
    size_unit: str = ML
    changed_voxels: int = 0
    model_ml: dict[str, float] = field(default_factory=dict)
    saved: float = 0.0
    params: dict[str, Any] | None = None
    folder: Path = Path()

    @property
    def path(self) -> Path:
        """Of the label file."""
        return self.folder / self.label

    @property
    def time(self) -> str:
        """When it was saved, as a person says it."""
        saved = time.localtime(self.saved)
        today = saved[:3] == time.localtime()[:3]
        return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", saved)


def default_folder() -> Path:
    """Return where drafts are kept: beside Slicer's settings, for temporary files may vanish with a crash."""
    return Path(slicer.app.slicerUserSettingsFilePath).parent / "UncertaintySeg" / "drafts"


class Drafts:
    """All drafts in a folder; one of them may be written, those of other Slicers that run are left alone.

    A draft has a folder of its own. Its label is written first and its notes last, at once, so that whenever the
    process ends the notes name a whole label.

    Args:
        folder: Made when it is needed, for its owner's eyes only.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: Draft | None = None
        self._lock: FileLock | None = None
        self._number = 0

    @property
    def open(self) -> Draft | None:
        """The draft that is being written."""
        return self._open

    def save(self, draft: Draft, ids: np.ndarray, reference: slicer.vtkMRMLScalarVolumeNode) -> Draft:
        """Write the label of a case in place of what was saved of it before.

        Args:
            draft: All but its `label`, `saved` and `folder`.
            ids: The label, `[K, J, I]` in the voxel order of the scan's node.
            reference: The scan.

        Returns:
            The draft as it is on disk.

        Raises:
            SceneError: It cannot be written. What was saved before is still there.
        """
        try:
            if self._open is None or (self._open.case, self._open.url) != (draft.case, draft.url):
                self.leave()
                self._begin(draft)
            self._number += 1
            draft = replace(draft, label=f"label-{self._number}.nii", saved=time.time(), folder=self._open.folder)
            segments.write_ids(ids, reference, draft.path)
            _write_notes(draft)
        except (OSError, SceneError) as error:
            text = _("What is drawn cannot be saved in {folder}: is the disk full? Submit soon.")
            raise SceneError(text.format(folder=self._folder)) from error
        self._open = draft
        for number in range(self._number - _KEPT, 0, -1):
            old = draft.folder / f"label-{number}.nii"
            if not old.exists():
                break
            with contextlib.suppress(OSError):
                old.unlink()
        return draft

    def leave(self) -> None:
        """End the writing; what was saved stays."""
        if self._lock is not None:
            self._lock.release()
        if self._open is not None and not self._open.label:
            shutil.rmtree(self._open.folder, ignore_errors=True)
        self._open = self._lock = None

    def keep_to_send(self, draft: Draft, params: dict[str, Any]) -> None:
        """Note that a label was submitted but not sent; what is drawn after it is another draft."""
        self.forget_waiting(draft)
        _write_notes(replace(draft, params=params))
        if self._open is not None and self._open.folder == draft.folder:
            self.leave()

    def forget_waiting(self, newer: Draft) -> None:
        """Send no label of a case that waited, for there is a newer one: sent last, the older one would count."""
        for other in self.waiting(newer.url, newer.case):
            self.remove(other)

    def reopen(self, draft: Draft) -> None:
        """Make a label that waited a draft again, for the server does not take it."""
        _write_notes(replace(draft, params=None))

    def unsent(self, url: str, case: str | None = None) -> list[Draft]:
        """Return what was drawn and never submitted, newest first; less what is being written, here or elsewhere."""
        found = [draft for draft in self._all(url) if draft.params is None and case in (None, draft.case)]
        return sorted((draft for draft in found if self._is_free(draft)), key=lambda draft: -draft.saved)

    def waiting(self, url: str, case: str | None = None) -> list[Draft]:
        """Return what was submitted and could not be sent, oldest first."""
        found = [draft for draft in self._all(url) if draft.params is not None and case in (None, draft.case)]
        return sorted((draft for draft in found if self._is_free(draft)), key=lambda draft: draft.saved)

    def remove(self, draft: Draft) -> None:
        """Forget a draft, which is sent or not wanted."""
        if self._open is not None and self._open.folder == draft.folder:
            self.leave()
        shutil.rmtree(draft.folder, ignore_errors=True)

    def _begin(self, draft: Draft) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="draft-", dir=self._folder))
        self._lock, self._number = FileLock(folder / _LOCK), 0
        self._lock.take()
        self._open = replace(draft, folder=folder)

    def _all(self, url: str) -> list[Draft]:
        notes = self._folder.glob(f"*/{_NOTES}") if self._folder.is_dir() else ()
        drafts = (_read_notes(path) for path in notes)
        return [draft for draft in drafts if draft is not None and draft.url == url and draft.path.is_file()]

    def _is_free(self, draft: Draft) -> bool:
        if self._open is not None and self._open.folder == draft.folder:
            return False
        lock = FileLock(draft.folder / _LOCK)
        try:
            return lock.take()
        except OSError:
            return False
        finally:
            lock.release()


def _write_notes(draft: Draft) -> None:
    notes = {key: value for key, value in asdict(draft).items() if key != "folder"}
    part = draft.folder / f"{_NOTES}.part"
    part.write_text(json.dumps(notes), encoding="utf-8")
    os.replace(part, draft.folder / _NOTES)


def _read_notes(path: Path) -> Draft | None:
    """Return a draft; None for notes that are none, for the folder is open to all programs of the user."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        draft = Draft(**{key.name: notes[key.name] for key in fields(Draft) if key.name in notes})
        return replace(draft, folder=path.parent, label=Path(draft.label).name)
    except (OSError, ValueError, TypeError, KeyError):
        return None
