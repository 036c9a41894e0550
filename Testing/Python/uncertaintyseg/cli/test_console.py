"""What the commands share: progress for people and for logs."""

from __future__ import annotations

from uncertaintyseg.cli import console as shared


def test_a_log_gets_a_line_of_progress_now_and_then(monkeypatch, capfd):
    monkeypatch.setattr(shared, "_A_LINE_EACH", 0.0)
    with shared.progress_bar() as progress:
        progress("epoch 1/4, loss [0.5]", 0.25)
        progress("epoch 4/4", 1.0)
    assert capfd.readouterr().err.splitlines() == [
        "25%, less than a minute left: epoch 1/4, loss [0.5]",
        "100%, less than a minute left: epoch 4/4",
    ]


def test_short_work_leaves_a_log_alone(capfd):
    with shared.progress_bar() as progress:
        progress("epoch 1/4", 0.25)
    assert capfd.readouterr().err == ""
