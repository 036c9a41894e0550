"""*Next* goes on, and what was drawn is found again."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6")


def test_a_case_that_was_left_is_a_draft_and_comes_back_voxel_for_voxel(user, full_server):
    user.begin(full_server.url)
    ui = user.ui("Edit")
    user.paint((5, 5, 5))
    drawn = user.drawn()
    user.desktop.answers.buttons.append("Ok")
    user.next_case()
    assert user.state.sample.id == "phantom_2"
    assert not ui.draftFrame.isVisible()
    user.open("phantom_1")
    assert ui.draftLabel.text.startswith("An unsent draft of phantom_1 from ")
    user.press("Edit", "restoreButton")
    np.testing.assert_array_equal(user.drawn(), drawn)


def test_a_case_whose_draft_cannot_be_saved_stays_open(user, full_server, monkeypatch):
    user.begin(full_server.url)
    user.paint((5, 5, 5))
    drawn = user.drawn()
    monkeypatch.setattr(user.edit.safekeeping.drafts, "_begin", _full_disk)
    user.desktop.answers.buttons.append("Ok")
    user.next_case()
    assert (user.state.sample.id, user.is_error) == ("phantom_1", True)
    assert "is the disk full?" in user.status
    np.testing.assert_array_equal(user.drawn(), drawn)


def _full_disk(*_arguments) -> None:
    raise OSError(28, "No space left on device")
