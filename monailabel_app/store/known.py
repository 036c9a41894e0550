"""Which studies folders were served here before, so that an unmounted share is not taken for a new, empty folder."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import platformdirs

from monailabel_app.store.records import FILE
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError, UncertaintySegError

logger = logging.getLogger(__name__)


class KnownStudies:
    """A small file in the user's state folder: the id of the records by folder.

    Args:
        path: Of the file; None for the user's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or platformdirs.user_state_path("uncertaintyseg") / "studies.json"

    def id_of(self, studies: Path) -> str | None:
        """Return the id of the records that a folder had when it was last served; None when it never was."""
        return self._read().get(str(studies.resolve()))

    def note(self, studies: Path, records_id: str) -> None:
        """Remember a folder."""
        known = self._read()
        if known.get(str(studies.resolve())) != records_id:
            known[str(studies.resolve())] = records_id
            try:
                write_bytes(self._path, json.dumps(known, indent=1).encode())
            except UncertaintySegError as error:  # a home that cannot be written to
                logger.warning("the next start cannot tell that this folder was served before: %s", error)

    def is_away(self, studies: Path) -> bool:
        """Whether a folder was served before and its records are not there."""
        return self.id_of(studies) is not None and not (studies / FILE).is_file()

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def check_new(studies: Path, known: KnownStudies, *, new: bool) -> None:
    """Raise `InputError` where a folder that was served before has files, but no records any more."""
    if not new and studies.is_dir() and any(studies.iterdir()) and known.is_away(studies):
        raise InputError(
            f"--studies {studies}: was served before, and {FILE} is not in it any more. Mount the right folder, or put "
            f"{FILE} and versions/ of a backup into it; with --new records begin anew from the scans and labels in it"
        )
