"""The keys, and those that somebody has changed."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")

from UncertaintySegLib.logic import keyboard, settings


@pytest.fixture(autouse=True)
def own_keys(host):
    yield
    settings.remember("keys", "")


def sequence(name: str) -> str:
    return next(key.sequence for key in keyboard.KEYS if key.name == name)


def test_no_two_keys_are_the_same():
    assert (
        len({key.sequence for key in keyboard.KEYS}) == len({key.name for key in keyboard.KEYS}) == len(keyboard.KEYS)
    )


def test_a_key_can_be_changed_and_changed_back():
    keyboard.change("accept", "Space")
    assert sequence("accept") == "Space"
    assert sequence("dismiss") == "D"
    keyboard.change("accept", "A")
    assert settings.value("keys") == "{}"
    with pytest.raises(KeyError):
        keyboard.change("nothing", "X")


def test_a_garbled_setting_is_none():
    settings.remember("keys", "{broken")
    assert sequence("accept") == "A"
