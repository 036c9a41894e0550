"""Which label of a model each structure of a segmentation is: the server, which knows names and codes, proposes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import Cancelled
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene.intake_labels import Part
from UncertaintySegLib.server.replies import Model

_NUMBERED = re.compile(r"(?:segment|label|region)?[ _-]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Proposal:
    """What the structures of a segmentation may be.

    Attributes:
        labels: Label id by `Part.id`, None for a part that is none of the labels.
        knowing: Models of the server that know such a part, by `Part.id`.
        by_number: Whether nothing but the numbers of voxels told which is which.
        problem: Why the server did not say anything; empty where it did.
    """

    labels: Mapping[str, int | None]
    knowing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    by_number: bool = False
    problem: str = ""


class Matching:
    """Asks the server; only the newest question counts, and nobody waits for it.

    Args:
        session: The way to the server.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._asked: object | None = None

    def ask(self, parts: Sequence[Part], model: Model, done: Callable[[Proposal], None]) -> None:
        """Have `done` called with a proposal, unless something else is asked meanwhile.

        Args:
            parts: Structures of a segmentation.
            model: Of the server.
            done: Gets the proposal.
        """
        self._asked = asked = object()

        def answered(answer: dict[str, Any]) -> None:
            if self._asked is asked:
                knowing = {row["key"]: tuple(row["models"]) for row in answer["unmatched"]}
                done(proposal(parts, model, answer["matched"], knowing))

        def failed(error: Exception) -> None:
            if self._asked is asked and not isinstance(error, Cancelled):
                done(
                    proposal(
                        parts, model, {}, {}, _("The server does not say which is which: {error}").format(error=error)
                    )
                )

        rows = [
            {"key": part.id, "name": part.name, "snomed": part.code or None, "modifier": part.modifier or None}
            for part in parts
        ]
        self.session.ask("match", {"model": model.name, "parts": rows}, answered, quiet=True, failed=failed)

    def forget(self) -> None:
        """Let what was asked be answered to nobody."""
        self._asked = None


def proposal(
    parts: Sequence[Part],
    model: Model,
    matched: Mapping[str, int],
    knowing: Mapping[str, Sequence[str]],
    problem: str = "",
) -> Proposal:
    """Complete what the server found by what only the segmentation knows.

    That is the label id that this module once noted on a segment, and, where no part has a name of its own, the numbers
    of the voxels.
    """
    ids = {label.id for label in model.labels}
    noted = {part.id: part.label_id for part in parts if part.label_id in ids}
    labels = {part.id: matched.get(part.id) or noted.get(part.id) for part in parts}
    if not any(labels.values()) and all(_NUMBERED.fullmatch(part.name) for part in parts):
        numbers = {part.id: part.value if part.value in ids else None for part in parts}
        return Proposal(numbers, {}, any(numbers.values()), problem)
    return Proposal(labels, {key: models for key, models in knowing.items() if not labels[key]}, False, problem)
