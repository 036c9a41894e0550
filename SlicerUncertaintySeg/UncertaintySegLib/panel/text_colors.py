"""Colours of texts, on the light and on the dark theme: each stands out from what is behind it by 4.5 : 1 or more."""

from __future__ import annotations

import qt

ERROR, WARNING, GOOD, QUIET = "error", "warning", "good", "quiet"
_ON_LIGHT = {ERROR: "#b3201a", WARNING: "#854d00", GOOD: "#1b5e20", QUIET: "#5c5c5c"}
_ON_DARK = {ERROR: "#ffa49c", WARNING: "#ffc561", GOOD: "#86d68c", QUIET: "#b8b8b8"}
_HALF = 128  # of the lightness of what is behind a text


def color(role: str) -> str:
    """Return the colour of a text of that role on the theme that Slicer now has, as #rrggbb."""
    is_dark = qt.QApplication.palette().color(qt.QPalette.Base).lightness() < _HALF
    return (_ON_DARK if is_dark else _ON_LIGHT)[role]


def style(widget, role: str | None, rest: str = "") -> None:
    """Give a widget's text the colour of a role, or the theme's own, and what else a style sheet may say."""
    parts = ([f"color: {color(role)}"] if role else []) + ([rest] if rest else [])
    widget.setStyleSheet("; ".join(parts))
