"""Images that a client uploads for a while, under ids that cannot be paths."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from monailabel.utils.sessions import SessionInfo, Sessions

_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OWNER = "owner"
"""Field of a session's `meta`: the name of who uploaded it."""


class CheckedSessions(Sessions):
    """MONAI Label's sessions. It joins ids from the network to its folder; here other ids are simply unknown.

    Args:
        store_path: folder of the uploads; empty for MONAI Label's own.
        expiry: seconds after the last use.
        limit_bytes: the least recently used sessions go beyond this size.
    """

    def __init__(self, store_path: str, expiry: int, limit_bytes: int) -> None:
        super().__init__(store_path, expiry)
        self._limit_bytes = limit_bytes

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None, owner: str = "",
        channels: Sequence[Path] = (),
    ) -> tuple[str, SessionInfo]:  # fmt: skip
        """Keep a file, and those of further channels beside it, for a while; others may have to go for it."""
        session_id, info = super().add_session(data_file, expiry, uncompress, session_id)
        for channel in channels:
            shutil.move(channel, Path(info.image).with_name(channel.name))
        info.meta |= {OWNER: owner, **({"channels": 1 + len(channels)} if channels else {})}
        self._write_meta_info(session_id, info)
        self._make_room(keep=session_id)
        return session_id, info

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """Return a session, or None when there is none."""
        if not _SESSION.fullmatch(session_id):
            return None
        return super().get_session(session_id, update_ts, fetch_cache)

    def _make_room(self, keep: str) -> None:
        known = [folder for folder in Path(self.store_path).iterdir() if _SESSION.fullmatch(folder.name)]
        total = 0
        for folder in sorted(known, key=_last_used, reverse=True):
            total += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            if total > self._limit_bytes and folder.name != keep:
                self.remove_session(folder.name)


def _last_used(folder: Path) -> float:
    """Its record is written with each use; of one that has just gone, long ago."""
    record = folder / "meta.info"
    return record.stat().st_mtime if record.is_file() else 0.0
