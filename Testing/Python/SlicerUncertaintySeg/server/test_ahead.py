from __future__ import annotations

import threading
import time

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.ahead import Ahead


def taken(ahead: Ahead, key: object) -> dict | None:
    """The answer, which is waited for."""
    end = time.monotonic() + 10.0
    while (answer := ahead.take(key)) is None and time.monotonic() < end:
        time.sleep(0.001)
    return answer


def test_an_answer_is_taken_once():
    ahead = Ahead()
    ahead.begin("case", lambda: {"of": "case"})
    assert taken(ahead, "case") == {"of": "case"}
    assert ahead.take("case") is None


def test_work_that_ends_late_answers_for_no_other_case():
    ahead, go_on, ended = Ahead(), threading.Event(), threading.Event()

    def late() -> dict:
        go_on.wait(10.0)
        ended.set()
        return {"of": "first"}

    ahead.begin("first", late)
    ahead.begin("second", lambda: {"of": "second"})
    go_on.set()
    assert ended.wait(10.0)
    assert taken(ahead, "second") == {"of": "second"}
    assert ahead.take("first") is None


def test_the_same_case_again_is_answered_by_the_newer_work():
    ahead, go_on = Ahead(), threading.Event()
    ahead.begin("case", lambda: {"old": go_on.wait(10.0)})
    ahead.begin("case", lambda: {"new": True})
    go_on.set()
    assert taken(ahead, "case") == {"new": True}


def test_of_what_fails_nobody_is_told():
    ahead, asked = Ahead(), threading.Event()

    def fails() -> dict:
        asked.set()
        raise ServerError("The server is busy.")

    ahead.begin("case", fails)
    assert asked.wait(10.0)
    assert ahead.take("case") is None
