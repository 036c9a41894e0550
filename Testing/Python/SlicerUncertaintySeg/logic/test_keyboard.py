"""The keys, and those that somebody has changed."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.logic import keyboard, settings
from UncertaintySegLib.logic.shared_keys import SHARED_KEYS, owners


@pytest.fixture(autouse=True)
def own_keys(host):
    yield
    settings.remember("keys", "")


def sequence(name: str) -> str:
    return next(key.sequence for key in keyboard.KEYS if key.name == name)


def test_no_two_keys_are_the_same():
    sequences = [sequence for key in keyboard.KEYS for sequence in key.sequences]
    assert len(set(sequences)) == len(sequences)
    assert len({key.name for key in keyboard.KEYS}) == len(keyboard.KEYS)


def test_no_key_does_something_else_in_slicer_its_segment_editor_or_slicernninteractive():
    assert [shared for key in keyboard.KEYS for each in key.sequences for shared in owners(each, key.name)] == []


def test_the_segment_editors_keys_keep_their_meaning():
    kept = {shared.sequence: shared.ours for shared in SHARED_KEYS if shared.ours}
    assert {sequence: name for sequence, name in kept.items() if sequence not in _sequences(name)} == {}
    digits = [kept[digit] for digit in "1234567890"]
    assert digits == [f"tool_{number}" for number in range(1, 11)]
    assert [kept[each] for each in ("Z", "Ctrl+Z", "Y", "Esc", "Space", "Q", "W")] == [
        *("undo", "undo", "redo", "no_tool", "last_tool", "previous_segment", "next_segment")
    ]


def test_the_views_keys_that_the_module_once_took_are_theirs():
    theirs = {shared.sequence for shared in SHARED_KEYS}
    assert {"F", "V", "G", "[", "]", "P", "U", "A"} <= theirs


def test_keys_are_written_as_qt_writes_them():
    import qt

    written = [shared.sequence for shared in SHARED_KEYS]
    written += [sequence for key in keyboard.KEYS for sequence in key.sequences]
    assert [sequence for sequence in written if qt.QKeySequence(sequence).toString() != sequence] == []


def _sequences(name: str) -> tuple[str, ...]:
    return next(key.sequences for key in keyboard.KEYS if key.name == name)


def test_a_key_can_be_changed_and_changed_back():
    keyboard.change("accept", "Space")
    assert sequence("accept") == "Space"
    assert sequence("dismiss") == "D"
    keyboard.change("accept", "K")
    assert settings.value("keys") == "{}"
    with pytest.raises(KeyError):
        keyboard.change("nothing", "X")


def test_a_garbled_setting_is_none():
    settings.remember("keys", "{broken")
    assert sequence("accept") == "K"
