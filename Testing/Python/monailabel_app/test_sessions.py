"""Uploads of sessions take no more room than they may."""

from __future__ import annotations

import os
import uuid

from monailabel_app.app.sessions import CheckedSessions


def test_the_sessions_used_least_recently_go_beyond_the_limit(tmp_path):
    sessions = CheckedSessions(str(tmp_path / "sessions"), 3600, limit_bytes=4_000)
    ids = []
    for number in range(4):
        upload = tmp_path / f"{number}.nii"
        upload.write_bytes(bytes(900))
        ids.append(sessions.add_session(str(upload), session_id=str(uuid.uuid4()))[0])
        record = tmp_path / "sessions" / ids[-1] / "meta.info"
        os.utime(record, (number, number))
        if number:
            os.utime(tmp_path / "sessions" / ids[0] / "meta.info", (10, 10))  # used meanwhile
    assert [sessions.get_session(each) is not None for each in ids] == [True, False, True, True]


def test_an_upload_above_the_limit_stays_until_the_next(tmp_path):
    sessions = CheckedSessions(str(tmp_path / "sessions"), 3600, limit_bytes=10)
    upload = tmp_path / "a.nii"
    upload.write_bytes(bytes(900))
    added, _ = sessions.add_session(str(upload), session_id=str(uuid.uuid4()))
    assert sessions.get_session(added) is not None
