"""One order for everything that can be undone, with the result that belongs to each state."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.undo import History


class Person:
    """Writes letters; what is shown is the text in capitals, once somebody has looked at it."""

    def __init__(self) -> None:
        self.text, self.errors = "", []
        self.state = SimpleNamespace(shown=None)
        self.history = History(self.state, self.show_again, self.errors.append)
        self.look()

    def show_again(self, shown: str) -> None:
        self.state.shown = shown

    def look(self) -> None:
        self.state.shown = self.text.upper()

    def write(self, letter: str) -> None:
        before, after = self.text, self.text + letter

        def put(text: str) -> None:
            self.text = text

        put(after)
        self.history.add(f"Write {letter}", lambda: put(before), lambda: put(after))


@pytest.fixture
def person():
    return Person()


def test_steps_are_undone_last_first_and_redone_first_first(person):
    for letter in "abc":
        person.write(letter)
    seen = []
    for _time in range(4):
        person.history.undo()
        seen.append(person.text)
    assert seen == ["ab", "a", "", ""]
    for _time in range(4):
        person.history.redo()
    assert person.text == "abc"


def test_the_result_of_each_state_comes_back_with_it(person):
    person.write("a")
    person.look()
    person.write("b")  # nobody looks
    person.history.undo()
    assert person.state.shown == "A"
    person.history.undo()
    assert person.state.shown == ""
    person.history.redo()
    assert person.state.shown == "A"


def test_a_result_that_came_after_the_step_is_there_again_after_redo(person):
    person.write("a")
    person.history.undo()
    person.history.redo()
    person.look()
    person.history.undo()
    person.history.redo()
    assert person.state.shown == "A"


def test_a_new_step_forgets_what_was_undone(person):
    person.write("a")
    person.history.undo()
    person.write("b")
    person.history.redo()
    assert person.text == "b"
    assert (person.history.last, person.history.next) == ("Write b", "")


def test_whoever_has_an_unfinished_step_adds_it_first(person):
    person.write("a")
    unfinished = ["z"]
    person.history.stepping.connect(lambda: person.write(unfinished.pop()) if unfinished else None)
    person.history.undo()
    assert person.text == "a"


def test_a_step_that_fails_stays_to_be_undone(person):
    def fail() -> None:
        raise SceneError("the segmentation is gone")

    person.history.add("Click", fail, fail)
    person.history.undo()
    assert [str(error) for error in person.errors] == ["the segmentation is gone"]
    assert person.history.last == "Click"


def test_a_dropped_step_is_not_undone_and_one_on_top_is_undone_first(person):
    person.write("a")
    first = person.history.done[0]
    person.history.add("Edit", lambda: None, lambda: None, ((0, 0, 0), (1, 1, 1)))
    edit = person.history.done[1]
    person.history.to_top(first)
    assert person.history.done == [edit, first]
    person.history.drop(edit)
    person.history.undo()
    assert person.text == ""
    assert person.history.last == ""
