"""Labels that are kept on this computer: drafts, and what waits to be sent, with the whole module."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.test_lost_connection import sent_labels
from Testing.Python.SlicerUncertaintySeg.whole_panel import sitting_down

_CORNER, _ELSEWHERE = (10, 10, 5), (40, 36, 18)  # voxels of no structure


def states(user) -> list[tuple[str, str]]:
    return [(item.region.structure, item.state) for item in user.regions.regions.items]


@pytest.mark.parametrize("segmented", [False, True])
def test_what_was_decided_comes_back_with_a_draft(user, full_server, segmented):
    user.begin(full_server.url)
    for key in "NKD":
        user.key(key)
    user.paint(_CORNER)
    decided, told = states(user), user.edit.attention.summary()
    assert [state for _structure, state in decided] == ["accepted", "dismissed"]
    user.desktop.answers.buttons.append("Ok")
    user.open("phantom_2")
    assert states(user) == []
    user.open("phantom_1")
    if segmented:
        user.run()
        assert [state for _structure, state in states(user)] == ["open", "open"]
    user.press("Edit", "restoreButton")
    user.wait_for(lambda: user.edit.reviewing.text.startswith("Risk estimated"))
    assert states(user) == decided
    assert user.ui("Regions").progressLabel.text.startswith("2 of 2 decided")
    again = user.edit.attention.summary()
    assert (again["accepted"], again["dismissed"], again["not_looked_at"]) == (1, 1, told["not_looked_at"])
    box = user.regions.regions.items[0].region.bounding_box
    asked = [params for query, _name, _content, params in full_server.uploads if query is None][-1]
    assert asked["accepted"] == [[list(box[0]), list(box[1])]]
    user.key("D")  # the last one that a view was at stays the one that is decided
    assert user.edit.attention.summary()["dismissed"] <= 2


def test_a_label_that_waits_is_shown_instead_of_what_the_model_says_anew(host, full_server, tmp_path, monkeypatch):
    with sitting_down(host, tmp_path, monkeypatch, by_itself=True) as user:
        user.connect(full_server.url)
        user.next_case()
        user.paint(_CORNER)
        submitted = user.drawn()
        full_server.drops["/datastore/label"] = 99
        user.press("Edit", "submitButton")
        assert "waits here" in user.status
        user.open("phantom_2")
        jobs = full_server.count("POST", "/uncertainty/v1/jobs")
        user.open("phantom_1")
        user.wait_for(lambda: user.edit.reviewing.text.startswith("Risk estimated"))
        np.testing.assert_array_equal(user.drawn(), submitted)
        assert "which waits to be sent, is shown" in user.status
        assert full_server.count("POST", "/uncertainty/v1/jobs") == jobs

        user.open("phantom_2")  # as nothing was drawn on it, nobody is asked and nothing is a draft
        assert not user.desktop.answers.asked
        [notes] = [json.loads(path.read_text()) for path in (tmp_path / "drafts").glob("*/draft.json")]
        assert (notes["case"], notes["params"]["looked_at"]["seconds"]) == ("phantom_1", notes["seconds_counted"])

        user.open("phantom_1")
        user.wait_for(lambda: user.edit.reviewing.text.startswith("Risk estimated"))
        user.paint(_ELSEWHERE)
        newer = user.drawn()
        assert (newer != submitted).any()
        full_server.drops.clear()
        user.press("Edit", "submitButton")
        user.edit.on_retry()
        user.wait()
        np.testing.assert_array_equal(sent_labels(full_server, tmp_path)[-1], newer)  # the older one does not follow it
        assert not user.ui("Edit").waitingLabel.isVisible()
        assert not list((tmp_path / "drafts").glob("*/draft.json"))


def test_a_draft_that_was_drawn_on_a_label_that_waits_comes_first(user, full_server):
    user.begin(full_server.url)
    full_server.drops["/datastore/label"] = 99
    user.paint(_CORNER)
    user.press("Edit", "submitButton")
    user.paint(_ELSEWHERE)
    newest = user.drawn()
    user.desktop.answers.buttons.append("Ok")
    user.open("phantom_2")
    user.open("phantom_1")
    assert not user.scene.is_segmented
    user.press("Edit", "restoreButton")
    np.testing.assert_array_equal(user.drawn(), newest)
