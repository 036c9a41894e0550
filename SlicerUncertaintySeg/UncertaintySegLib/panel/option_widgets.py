"""A widget for each kind of setting that a server offers for a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from UncertaintySegLib.panel import text_colors
from UncertaintySegLib.panel.widgets import fill
from UncertaintySegLib.server.choices import CHOICE, CHOICES, EXAMPLES, INTEGER, NUMBERS, SWITCH, RunOption

_LARGEST = 2**31 - 1  # of a spin box
_DECIMALS = 4
_MOST_ROWS = 6  # of a list; longer ones scroll
_SEPARATORS = re.compile(r"[,;\s]+")

Keep = Callable[[Any], None]
Complain = Callable[[str], None]


def title(option: RunOption) -> str:
    """Return the name of a setting as people read it."""
    if option.name == EXAMPLES:
        return _("corrected slices as examples")
    return option.name.replace("_", " ")


def make(option: RunOption, value: Any, keep: Keep, complain: Complain) -> qt.QWidget:
    """Return a widget that shows a setting.

    Args:
        option: The setting.
        value: What is chosen for it now.
        keep: Gets what somebody chooses, where that can be sent.
        complain: Gets what is wrong with what somebody types or ticks, else an empty text.
    """
    if option.kind == SWITCH:
        widget = qt.QCheckBox()
        widget.setChecked(bool(value))
        widget.toggled.connect(lambda checked: keep(bool(checked)))
    elif option.kind == CHOICE:
        widget = _combo_box(option, value, keep)
    elif option.kind == CHOICES:
        widget = _check_list(option, value, keep, complain)
    elif option.kind == NUMBERS:
        widget = _line(option, value, keep, complain)
    else:
        widget = _spin_box(option, value, keep)
    widget.objectName = f"{option.name}Option"
    widget.setToolTip(_tooltip(option))
    return widget


def _combo_box(option: RunOption, value: Any, keep: Keep) -> qt.QComboBox:
    widget = qt.QComboBox()
    names = [*([] if option.default in option.choices else [option.default]), *option.choices]
    fill(widget, {name: _("the model's own way") if name is None else name for name in names}, value)
    widget.currentIndexChanged.connect(lambda *_index: keep(names[widget.currentIndex]))
    return widget


def _spin_box(option: RunOption, value: Any, keep: Keep) -> qt.QAbstractSpinBox:
    widget, number = (qt.QSpinBox(), int) if option.kind == INTEGER else (qt.QDoubleSpinBox(), float)
    if option.kind != INTEGER:
        widget.setDecimals(_DECIMALS)
        widget.setSingleStep(10.0**-2)
    low = -_LARGEST if option.low is None else option.low
    high = _LARGEST if option.high is None else option.high
    unset = option.default is None
    if unset:
        low -= widget.singleStep  # the place below all numbers
        widget.setSpecialValueText(_("the model's own way"))
    widget.setRange(number(max(low, -_LARGEST)), number(min(high, _LARGEST)))
    widget.setValue(widget.minimum if value is None else number(value))
    widget.valueChanged.connect(
        lambda *_value: keep(None if unset and widget.value == widget.minimum else number(widget.value))
    )
    return widget


def _check_list(option: RunOption, value: Any, keep: Keep, complain: Complain) -> qt.QListWidget:
    widget = qt.QListWidget()
    widget.setSelectionMode(qt.QAbstractItemView.NoSelection)
    for name in option.choices:
        item = qt.QListWidgetItem(name)
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
        item.setCheckState(qt.Qt.Checked if name in value else qt.Qt.Unchecked)
        widget.addItem(item)
    rows = min(max(len(option.choices), 1), _MOST_ROWS)
    widget.setFixedHeight(rows * widget.sizeHintForRow(0) + 2 * widget.frameWidth)

    def ticked(*_item) -> None:
        items = (widget.item(row) for row in range(widget.count))
        chosen = tuple(item.text() for item in items if item.checkState() == qt.Qt.Checked)
        problem = _problem_of_count(option, len(chosen))
        complain(problem)
        if not problem:
            keep(chosen)

    widget.itemChanged.connect(ticked)
    return widget


def _line(option: RunOption, value: Any, keep: Keep, complain: Complain) -> qt.QLineEdit:
    widget = qt.QLineEdit(", ".join(f"{number:g}" for number in value))

    def typed(*_text) -> None:
        words = [word for word in _SEPARATORS.split(widget.text) if word]
        unset = not words and not option.default
        problem = "" if unset else _problem_of_count(option, len(words)) or _problem_of_numbers(option, words)
        text_colors.style(widget, text_colors.ERROR if problem else None)
        complain(problem)
        if not problem:
            keep(tuple(float(word) for word in words))

    widget.textChanged.connect(typed)
    return widget


def _problem_of_count(option: RunOption, count: int) -> str:
    if count < option.fewest:
        return _("{name}: choose {fewest} at least.").format(name=title(option), fewest=option.fewest)
    if option.most is not None and count > option.most:
        return _("{name}: choose {most} at most.").format(name=title(option), most=option.most)
    return ""


def _problem_of_numbers(option: RunOption, words: list[str]) -> str:
    for word in words:
        try:
            number = float(word)
        except ValueError:
            text = _("{name}: '{word}' is no number; separate numbers by commas, as in 0.9, 1, 1.1.")
            return text.format(name=title(option), word=word)
        if not option.takes_one(number):
            text = _("{name}: {word} is not in the range from {low:g} to {high:g}.")
            low = float("-inf") if option.low is None else option.low
            high = float("inf") if option.high is None else option.high
            return text.format(name=title(option), word=word, low=low, high=high)
    return ""


def _tooltip(option: RunOption) -> str:
    if option.low is None or option.high is None:
        return option.text
    if option.kind == NUMBERS:
        text = _("{text} Numbers from {low:g} to {high:g}, separated by commas.")
    else:
        text = _("{text} From {low:g} to {high:g}; {default} unless somebody sets it.")
    default = _("the model's own way") if option.default is None else option.default
    return text.format(text=option.text, low=option.low, high=option.high, default=default).strip()
