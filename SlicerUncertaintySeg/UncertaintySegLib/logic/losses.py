"""Structures that lost most of their volume: who sends such a label is asked first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.structures import volume
from UncertaintySegLib.server.sizes import ML

ASKED = 0.5
"""Of a structure's volume in the model's answer, or in somebody else's label at first: below it the person is asked."""
REMOVED = 0.1
"""Less than this was removed, and not corrected: the same share as in the server's `inference.reviewing`."""
_LINES = 12


@dataclass(frozen=True)
class Loss:
    """One structure: its label id and name, and its size, before and as drawn now."""

    label_id: int
    name: str
    before_ml: float
    now_ml: float


def question(case: str, losses: Sequence[Loss], unit: str = ML) -> str:
    """Return what to ask before a label is sent; one question for all structures, those that lost most first."""
    empty, less = _("{name}: {before} {unit}, now empty"), _("{name}: {before} {unit}, now {now} {unit}")
    known = {"unit": sizes.shown(unit)}
    worst = sorted(losses, key=lambda loss: loss.now_ml - loss.before_ml)
    lines = [
        (less if loss.now_ml else empty).format(
            name=loss.name, before=volume(loss.before_ml), now=volume(loss.now_ml), **known
        )
        for loss in worst[:_LINES]
    ]
    if len(worst) > _LINES:
        lines.append(_("and {count} more").format(count=len(worst) - _LINES))
    asked = _("These structures of {case} have lost more than half of their {size}:")
    return "\n".join(
        (asked.format(case=case, size=sizes.kind(unit)), *lines, "", _("Send the label? (Y: yes, N or Esc: no)"))
    )
