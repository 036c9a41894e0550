"""Images that a client uploads for a while, under ids that cannot be paths."""

from __future__ import annotations

import re

from monailabel.utils.sessions import SessionInfo, Sessions

_SESSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


OWNER = "owner"
"""Field of a session's `meta`: the name of who uploaded it."""


class CheckedSessions(Sessions):
    """MONAI Label's sessions. It joins ids from the network to its folder; here other ids are simply unknown."""

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None, owner: str = ""
    ) -> tuple[str, SessionInfo]:
        """Keep a file for a while, for its owner."""
        session_id, info = super().add_session(data_file, expiry, uncompress, session_id)
        info.meta[OWNER] = owner
        self._write_meta_info(session_id, info)
        return session_id, info

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """Return a session, or None when there is none."""
        if not _SESSION.fullmatch(session_id):
            return None
        return super().get_session(session_id, update_ts, fetch_cache)
