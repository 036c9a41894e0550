"""What happens at the wrong moment: the scene closed, the case changed, keys in haste, a full disk, and a monkey."""

from __future__ import annotations

import errno
import os
import random
import time

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.test_lost_connection import sent_labels
from Testing.Python.SlicerUncertaintySeg.whole_panel import STAY
from UncertaintySegLib.logic import keyboard

_DROPPING = (
    "/activelearning",
    "/uncertainty/v1/jobs",
    "/uncertainty/v1/results",
    "/datastore/label",
    "/datastore/image",
)
_CORNER, _ORGAN = (10, 10, 5), (26, 20, 11)

# What is under way: the path that waits, and who asks.
_REQUESTS = {
    "next case": ("/datastore/image", lambda user: user.start("Cases", "nextButton")),
    "inference": ("/uncertainty/v1/results/k3y/label", lambda user: user.start("Segment", "runButton")),
    "map": (
        "/uncertainty/v1/results/k3y/maps/probability",
        lambda user: user.ui("Risk").mapComboBox.setCurrentIndex(3),
    ),
    "shapes": ("/uncertainty/v1/results/k3y/samples", lambda user: user.start("Risk", "shapesButton")),
    "click": ("/uncertainty/v1/results/k3y/condition", lambda user: (user.key("C"), user.click_at(_ORGAN))),
    "review": ("/uncertainty/v1/results/k3y/review", lambda user: user.edit.reviewing.review()),
    "submission": ("/datastore/label", lambda user: user.start("Edit", "submitButton")),
    "cases": ("/uncertainty/v1/cases", lambda user: user.start("Cases", "refreshButton")),
}


def under_way(user, server, request: str) -> np.ndarray:
    """Begin a case, draw on it, and have the server take its time over a request; returns what is drawn."""
    path, ask = _REQUESTS[request]
    user.begin(server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    user.edit._review.stop()
    user.wait()
    user.desktop.answers.buttons += ["Ok"] * 2
    server.delays[path] = 0.3
    asked_before = len(server.requests)
    ask(user)
    user.wait_for(lambda: user.session.worker.pending)
    user.wait_for(
        lambda: any(asked.startswith(path) for _method, asked, _headers in list(server.requests)[asked_before:])
    )
    server.delays.clear()
    return drawn


@pytest.mark.parametrize("request_", _REQUESTS)
def test_a_scene_closed_while_a_request_is_under_way_keeps_what_was_drawn(user, full_server, request_):
    drawn = under_way(user, full_server, request_)
    slicer.mrmlScene.Clear(0)
    user.wait()
    if request_ not in ("submission", "next case"):
        assert user.state.result is None
        assert user.scene.segmentation is None
    if request_ != "submission":
        np.testing.assert_array_equal(user.drafts()[-1], drawn)
    user.next_case()
    user.run()
    assert not user.is_error, user.status


@pytest.mark.parametrize("request_", ["map", "shapes", "click", "review", "cases"])
def test_the_answer_to_a_question_about_the_case_before_does_not_land_on_the_new_one(user, full_server, request_):
    under_way(user, full_server, request_)
    user.start("Cases", "nextButton")
    user.wait()
    assert user.state.sample is not None
    assert user.state.result is None
    assert user.scene.segmentation is None
    assert user.scene.maps == {}
    assert user.session.history.last == ""
    assert user.regions.clicks.count == 0
    assert not user.is_error, user.status


def test_a_new_result_that_comes_while_questions_about_the_old_one_are_under_way_is_the_one_that_counts(
    user, full_server
):
    under_way(user, full_server, "click")
    user.start("Segment", "runButton")
    user.wait()
    assert user.state.result.key == "k3y"
    assert user.regions.clicks.count == 0
    assert not user.scene.edited


def test_keys_in_haste_do_one_thing_after_the_other(user, full_server, tmp_path):
    full_server.names = [f"phantom_{number}" for number in range(1, 9)]
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    for keys in ("N", "N", "N", "K", "Z", "N", "Shift+N", "D", "Z", "N", "K"):
        user.key(keys)
    np.testing.assert_array_equal(user.drawn(), drawn)
    user.desktop.answers.buttons += ["Ok"] * 9
    user.key("Shift+S")
    user.key("Shift+S")
    user.key("Ctrl+N")
    user.key("Ctrl+N")
    user.wait()
    (sent,) = sent_labels(full_server, tmp_path)
    np.testing.assert_array_equal(sent, drawn)
    # how many of the keys come while something is under way, and are passed over, is the machine's speed
    asked = [path for _, path, _ in full_server.requests if path.startswith(("/activelearning/", "/datastore/image"))]
    assert 2 <= full_server.count("POST", "/activelearning/") <= 5
    assert [path.startswith("/activelearning/") for path in asked] == [True, False] * (len(asked) // 2), asked
    assert user.state.result is None


def test_what_is_drawn_while_the_label_before_is_being_sent_is_not_taken_for_sent(user, full_server, tmp_path):
    sent = under_way(user, full_server, "submission")
    user.paint((30, 34, 15))
    drawn = user.drawn()
    user.wait()
    np.testing.assert_array_equal(sent_labels(full_server, tmp_path)[0], sent)
    assert user.scene.edited
    user.edit.on_autosave()
    np.testing.assert_array_equal(user.drafts()[-1], drawn)


def test_a_full_disk_is_said_once_and_the_next_save_works(user, full_server, monkeypatch):
    from UncertaintySegLib.scene import segments

    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(segments, "write_ids", full)
        user.edit.on_autosave()
        assert user.status.startswith("What is drawn cannot be saved in ")
        assert user.status.endswith("is the disk full? Submit soon.")
        user.press("Edit", "submitButton")
        assert user.status.startswith("What is drawn cannot be saved in ")
    np.testing.assert_array_equal(user.drawn(), drawn)
    user.press("Edit", "submitButton")
    assert "is saved" in user.status


def test_a_folder_that_cannot_hold_downloads_is_said_and_costs_no_work(user, full_server):
    user.begin(full_server.url)
    user.paint(_CORNER)
    drawn = user.drawn()
    folder = user.session.folder
    (folder / "file").write_text("in the way")
    user.session.folder = folder / "file"
    user.desktop.answers.buttons.append("Ok")
    user.next_case()
    assert "cannot be written" in user.status
    user.press_everything(STAY)
    user.session.folder = folder
    np.testing.assert_array_equal(user.drawn(), drawn)


def test_two_volumes_of_one_name_are_two_cases(user, full_server):
    user.connect(full_server.url)
    box = user.ui("Cases")
    box.sceneGroupBox.collapsed = False
    names = []
    for value in (1, 2):
        voxels = np.full((4, 5, 6), value, np.int16)
        volume = slicer.util.addVolumeFromArray(
            voxels, nodeClassName="vtkMRMLScalarVolumeNode", name="the <b>same</b> name"
        )
        box.volumeComboBox.setCurrentNode(volume)
        names.append(box.uploadNameLineEdit.text)
        box.consentCheckBox.setChecked(True)
        user.press("Cases", "uploadButton")
        assert user.scene.scan is volume
    assert len(set(names)) == 2
    user.watch.vtk_expected = True
    user.press_everything(("startButton", "nextButton", "next_case", "casesTable", "uploadButton"))


def test_what_a_volume_of_the_users_own_brought_into_the_scene_goes_with_its_case(user, full_server, phantom_case):
    user.connect(full_server.url)
    box = user.ui("Cases")
    box.sceneGroupBox.collapsed = False
    from UncertaintySegLib.scene import nodes

    volume = nodes.read_volume(slicer.mrmlScene, phantom_case.scan, "mine")
    box.volumeComboBox.setCurrentNode(volume)
    box.consentCheckBox.setChecked(True)
    user.press("Cases", "uploadButton")
    user.run()
    user.press("Risk", "shapesButton")
    user.key("C")
    user.click_at(_ORGAN)
    user.wait()
    user.desktop.answers.buttons += ["Ok"] * 2
    user.next_case()
    assert [node.GetName() for node in nodes.marked(slicer.mrmlScene)] == ["phantom_1", "phantom_1 to review"]
    assert volume.GetScene() is not None


class Monkey:
    """Does what is within reach, at random; draws, and runs a model where there is none of its results."""

    def __init__(self, user, server, seed: int) -> None:
        self.user, self.server, self.chance = user, server, random.Random(seed)

    def step(self) -> None:
        kind = self.chance.random()
        acts = (
            (0.03, self.drop),
            (0.10, self.draw),
            (0.15, self.go_on),
            (0.45, self.press_key),
            (1.00, self.touch),
        )
        next(act for limit, act in acts if kind <= limit)()
        patience = time.monotonic() + 0.02
        self.user.wait_for(lambda: not self.user.session.worker.pending or time.monotonic() > patience)

    def drop(self) -> None:
        """Have the server hang up on some next requests."""
        self.server.drops[self.chance.choice(_DROPPING)] = self.chance.choice((1, 4))

    def draw(self) -> None:
        voxel = tuple(self.chance.randrange(5, size - 5) for size in (48, 44, 24))
        if self.user.edit.editing.is_possible:
            self.user.click_at(voxel) if self.user.regions.clicks.is_on else self.user.paint(voxel)

    def go_on(self) -> None:
        """Do what a case needs next; the boxes that come up are answered one way or the other."""
        self.user.desktop.answers.buttons[:] = self.chance.choices(("Ok", "Cancel"), k=2)
        self.user.ui("Report").readOnlyCheckBox.setChecked(False)
        if self.user.state.result is None:
            button = self.user.ui("Segment").runButton
            self.user.touch("runButton", button if button.isEnabled() else self.user.ui("Cases").nextButton)

    def press_key(self) -> None:
        self.user.key(self.chance.choice(keyboard.KEYS).sequences[0])

    def touch(self) -> None:
        from PySide6 import QtWidgets

        section = self.chance.choice(list(self.user.panel.sections.values()))
        section.button.collapsed = False
        widgets = [pair for pair in vars(section.ui).items() if isinstance(pair[1], QtWidgets.QWidget)]
        name, widget = self.chance.choice(widgets)
        if name not in ("startButton", "keysTable") and widget.isVisible() and widget.isEnabled():
            self.user.touch(name, widget, self.chance.random())


@pytest.mark.parametrize("seed", [5])
def test_a_monkey_finds_no_traceback_and_loses_nothing(user, full_server, seed):
    """Some hundred clicks, keys and moves at random, with a server that drops now and then."""
    user.begin(full_server.url)
    monkey = Monkey(user, full_server, seed)
    for _step in range(300):
        monkey.step()
        assert not user.watch.troubles
    full_server.drops.clear()
    user.wait()
    user.ui("Report").readOnlyCheckBox.setChecked(False)
    if user.scene.edited and user.edit.editing.is_possible:
        drawn = user.drawn()
        user.edit.safekeeping.autosave()
        assert any(np.array_equal(drawn, draft) for draft in user.drafts())
