"""What a model moves, and what was drawn by hand, in one label: neither may take away the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from UncertaintySegLib.logic.changes import Change
from UncertaintySegLib.scene import segments
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.scene.navigation import Ijk, node_index


@dataclass(frozen=True)
class Moved:
    """What another label of the model changes.

    Attributes:
        ids: What to draw, as `CaseScene.draw` takes it.
        drawn, plain: What is another structure now: as drawn, and less what was drawn by hand.
        is_edited: Whether it is not the model's own label.
    """

    ids: np.ndarray
    drawn: Change
    plain: Change
    is_edited: bool


class ModelLabel:
    """The label of a case less what was drawn by hand, to tell the two apart.

    Args:
        scene: Has the case.
    """

    def __init__(self, scene: CaseScene) -> None:
        self._scene = scene
        self._plain: np.ndarray | None = None

    def begin(self, plain: np.ndarray | None) -> None:
        """Start with a label that nobody has drawn on, as `CaseScene.label_ids` has it; None for the model's own."""
        self._plain = plain

    def forget(self) -> None:
        """The case is gone."""
        self._plain = None

    def moved_to(self, label: Path, before: Path | None, clicked: Sequence[Ijk]) -> Moved:
        """Return what to draw where a model has another label than before.

        What was drawn by hand stays, except at clicked voxels: a click is newer. So does, where the label began as
        somebody else's, all that the model did not move.

        Args:
            label: File of the new one.
            before: File of the one before; None where nobody knows it.
            clicked: Voxels, IJK of the scan's file.

        Raises:
            SceneError: A file is not a label of the scan, or the segmentation is gone.
        """
        scan, drawn = self._scene.scan, self._scene.label_ids()
        new = segments.file_ids(scan, label)
        known = drawn if self._plain is None else self._plain
        old = known if before is None else segments.file_ids(scan, before)
        plain = old if self._plain is None else self._plain
        by_hand = drawn != plain
        by_hand[node_index(scan, clicked)] = False
        new_plain = np.where(new != old, new, plain).astype(drawn.dtype)
        ids = np.where(by_hand, drawn, new_plain)
        moved = Moved(ids, Change(drawn, ids), Change(plain, new_plain), bool((ids != new).any()))
        self._plain = new_plain
        return moved

    def take_back(self, moved: Moved) -> None:
        """Draw the label as it was before. Raises `SceneError` when the segmentation is gone."""
        self._scene.draw(moved.drawn.undone(self._scene.label_ids()))
        self._plain = moved.plain.undone(self._plain)

    def move_again(self, moved: Moved) -> None:
        """Draw the label as it was after. Raises `SceneError` when the segmentation is gone."""
        self._scene.draw(moved.drawn.redone(self._scene.label_ids()))
        self._plain = moved.plain.redone(self._plain)
