"""What the status line says while a long model runs."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")


@pytest.mark.parametrize(
    ("stage", "seconds", "text"),
    [
        ("Part 2 of 5", 754.0, "Part 2 of 5... about 13 min left"),
        ("Part 5 of 5", 42.4, "Part 5 of 5... about 42 s left"),
        ("Waiting for 2 other jobs", None, "Waiting for 2 other jobs..."),
    ],
)
def test_the_part_that_runs_and_the_time_left_are_told_and_it_can_be_cancelled(
    open_panel, session, stage, seconds, text
):
    panel = open_panel()
    session.state.stage, session.state.fraction, session.state.eta_s = stage, 0.4, seconds
    session.changed.emit()
    assert panel.ui.statusLabel.text == text
    assert panel.ui.progressBar.value == 40
    assert panel.ui.cancelButton.isVisible()
    assert panel.ui.cancelButton.isEnabled()
