"""The sentence on top of panel and report: what is most wrong, how much of it, why, and whether a promise holds."""

from __future__ import annotations

import contextlib

from slicer.i18n import tr as _

from UncertaintySegLib.errors import UncertaintySegError
from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.order import worst_first
from UncertaintySegLib.logic.selection import Selection
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.structures import volume
from UncertaintySegLib.server.results import InferResult, Structure

KINDS = {
    "border": _("along its border"),
    "missed": _("where too little is labelled"),
    "extra": _("where too much is labelled"),
}
"""What a region's kind means."""


class Summary:
    """Keeps the sentence of the session's result.

    Args:
        session: Whose result it is.

    Attributes:
        is_stale: Whether somebody drew since, and the server has not answered yet.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.is_stale = False
        self._made_of: tuple = ()
        self._text = ""
        session.review_wanted.connect(self._on_change)
        for signal in (session.result_changed, session.case_opened, session.case_closed):
            signal.connect(self._on_result)

    @property
    def text(self) -> str:
        """The sentence; empty without a result."""
        state = self.session.state
        made_of = (state.result, state.promise, state.review_threshold)
        if any(new is not old for new, old in zip(made_of, self._made_of or (object(),) * 3)):
            self._made_of = made_of
            self._text = sentence(state.result, selection_of(self.session)) if state.result is not None else ""
        if self._text and self.is_stale:
            return _("Before your last change: {text}").format(text=self._text)
        return self._text

    def _on_change(self) -> None:
        self.is_stale = True

    def _on_result(self) -> None:
        self.is_stale = False


def selection_of(session: Session) -> Selection:
    """Return where on its curve the shown result stands, at the threshold that the reviewer chose."""
    selection = Selection()
    with contextlib.suppress(UncertaintySegError):  # a curve that is none; whoever draws it says so
        selection.take(session.state.result, session.state.promise)
    if session.state.review_threshold is not None:
        selection.move_to_threshold(session.state.review_threshold)
    return selection


def sentence(result: InferResult, selection: Selection) -> str:
    """Return which structure comes first, how much of it is expected to be wrong, why, and what is promised.

    Args:
        result: Of any server: what it does not say is said to be not known.
        selection: Where the result stands.
    """
    return _("{what}; {promise}.").format(what=_what(result), promise=_promise(selection))


def threshold(result: InferResult) -> str:
    """Return where the threshold that was asked for lies, in a sentence; empty where none was."""
    cut = result.threshold
    if cut is None:
        return ""
    how = cut.method.replace("_", " ") if cut.setting is None else f"{cut.method.replace('_', ' ')} {cut.setting:g}"
    value = f"{cut.value:.4g}" if cut.unit == "1" else f"{cut.value:.4g} {cut.unit}"
    if cut.fallback:
        value = _("{value}, the middle of the range, for there are no two groups to part").format(value=value)
    text = _("Threshold of {of} ({how}): {value}; {size} {unit} are above it.")
    size, unit = volume(cut.above_ml), sizes.shown(cut.size_unit)
    return text.format(of=spaced(cut.of), how=how, value=value, size=size, unit=unit)


def spaced(name: str) -> str:
    """Return the name of a structure so that it can be broken into lines."""
    return name.replace("_", " ")


def _what(result: InferResult) -> str:
    if not result.structures:
        return _("This result has no structures")
    first, count = worst_first(result.structures)[0], len(result.structures)
    name = spaced(first.name)
    if first.expected_error_ml is None:
        return _not_known(first.flag or _("this server does not say"), result)
    if not first.expected_error_ml:
        if count == 1:
            return _("Nothing is expected to be wrong in {name}").format(name=name)
        return _("Nothing is expected to be wrong in any of {count} structures").format(count=count)
    size = f"{volume(first.expected_error_ml)} {sizes.shown(result.size_unit)}"
    why = _why(result, first)
    if count == 1:
        return _("{name}: {size} are expected to be wrong, {why}").format(name=name, size=size, why=why)
    # Not "of all": a voxel between two structures counts for both, so the parts may be more than the whole.
    text = _("Look at {name} first: {size} are expected to be wrong in or around it, {why}")
    return text.format(name=name, size=size, why=why)


def _not_known(reason: str, result: InferResult) -> str:
    total = result.remaining_error_ml
    if total is None:
        return _("How much of the label is wrong is not known ({reason})").format(reason=reason)
    text = _("{total} {unit} are expected to be wrong, in which structure is not known ({reason})")
    return text.format(total=volume(total), unit=sizes.shown(result.size_unit), reason=reason)


def _why(result: InferResult, structure: Structure) -> str:
    """Return where in a structure most is wrong, with the number that the list of regions gives it, and its flag."""
    places = (item for item in enumerate(worst_first(result.regions), start=1) if item[1].structure == structure.name)
    rank, region = next(places, (0, None))
    if region is None:
        where = _("at no single place")
    else:
        where = _("mainly {kind} (region {rank})").format(kind=KINDS.get(region.kind, region.kind), rank=rank)
    if structure.flag:
        return _("{where}, and it is flagged: {flag}").format(where=where, flag=structure.flag)
    return where


def _promise(selection: Selection) -> str:
    bound = selection.guarantee
    if not selection.calibrated:
        reason = selection.reason.rstrip(".") or _("the server does not say why")
        return _("nothing is promised: {reason}").format(reason=reason)
    if not selection.is_promised:
        text = _("no promise holds at your threshold (one does at {threshold:.3g})")
        return text.format(threshold=bound.threshold)
    told = {"alpha": 100 * bound.alpha, "size": sizes.kind(selection.unit)}
    if bound.delta is None:
        text = _("promised: at most {alpha:.3g} % of the true {size} stays wrong on average if you review as asked")
        return text.format(**told)
    text = _("promised, {sure:.3g} % sure: at most {alpha:.3g} % of the true {size} stays wrong if you review as asked")
    return text.format(**told, sure=100 * (1 - bound.delta))
