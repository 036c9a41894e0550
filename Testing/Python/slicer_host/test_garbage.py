from __future__ import annotations

import gc
import threading

import pytest


def test_no_collection_begins_while_a_panel_is_deleted_and_then_they_do_again(desktop):
    from PySide6 import QtWidgets

    window, seen = QtWidgets.QWidget(), []
    child = QtWidgets.QWidget(window)
    child.destroyed.connect(lambda *_: seen.append(gc.isenabled()))
    desktop.discard(window)
    assert seen == [False]
    assert gc.isenabled()


@pytest.mark.parametrize("was_on", [True, False])
def test_what_was_asked_for_before_holds_afterwards_and_no_thread_collects_meanwhile(desktop, was_on):
    from slicer_host import garbage

    def work() -> None:
        kept = [[] for _ in range(100_000)]
        assert len(kept) == 100_000

    try:
        (gc.enable if was_on else gc.disable)()
        with garbage.kept_away():
            before = [one["collections"] for one in gc.get_stats()]
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert [one["collections"] for one in gc.get_stats()] == before
        assert gc.isenabled() is was_on
    finally:
        gc.enable()
