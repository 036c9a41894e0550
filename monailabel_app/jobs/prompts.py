"""What a model that is prompted is asked for, on its way into the worker."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uncertaintyseg.data.prompts import MARGIN, PromptBox, PromptPoint, Prompts
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.versions import bundle_with

if TYPE_CHECKING:
    from uncertaintyseg.inference.prompting import Asking


@dataclass(frozen=True)
class AskedFor:
    """Prompts of one job.

    Attributes:
        boxes: as of `Prompts`.
        points: as of `Prompts`.
        plane: as of `Prompts`.
        margin: as of `Prompts`.
        other: folder of a model around whose label boxes are put.
        checksum: of that model's weights.
        meaning: what else its label, and what is made of it, depends on: a hash of its name, structures and settings.
    """

    boxes: tuple[PromptBox, ...] = ()
    points: tuple[PromptPoint, ...] = ()
    plane: str | None = None
    margin: float = MARGIN
    other: str | None = None
    checksum: str = ""
    meaning: str = ""

    @property
    def about(self) -> dict[str, Any]:
        """What a result depends on, plain JSON."""
        found = {"boxes": [asdict(box) for box in self.boxes], "points": [asdict(point) for point in self.points]}
        return found | {"plane": self.plane, "margin": self.margin, "other": [self.checksum, self.meaning]}

    def asking(self, bundle: Bundle, device: str) -> Asking:
        """As the predictor of a model takes it. Runs in the worker."""
        from uncertaintyseg.inference.prompting import Asking  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.inference.prompts_from import prompts_of_model  # noqa: PLC0415

        given = Prompts(self.boxes, self.points, plane=self.plane, margin=self.margin)
        if self.other is None:
            return Asking(lambda _: given)
        return Asking(prompts_of_model(bundle_with(Path(self.other), self.checksum), bundle, given, device))
