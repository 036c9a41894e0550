"""The predictor of a model that is put together from several networks (docs/adr/0014)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
from monai.data import MetaTensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.composite import NAMES, WHOLE_NUMBERS, CompositeGatherer
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.cutting import CutOf
from uncertaintyseg.inference.described import sized
from uncertaintyseg.inference.device import checked_device
from uncertaintyseg.inference.features import pooled_features
from uncertaintyseg.inference.looking import Asked, Look
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.spread import Spread
from uncertaintyseg.inference.stream import CUT, IN_MEMORY_BYTES, Average, LogitAverage, Need, Scratch
from uncertaintyseg.inference.timing import Progress, timed
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.review.structures import Drawn
from uncertaintyseg.wire import MapInfo

_NO_SHAPES = Drawn("none: several networks make this model, and share no noise to draw shapes from")


class CompositePredictor(Predictor):
    """A composite model, ready for many scans: its parts run one after another, the last first.

    The label is the parts' merge, in which a later one wins, and the maps are those of `composite.Joint`. Parts that
    hold none of the structures that were named do not run.

    Args:
        bundle: or the path of its folder.
        device: torch device.
        method: passes to run each part with, as of `Predictor`.
        options: of these passes.
        others: none: there is no ensemble of composites.
        crf: none: it would need all classes at once.
        threshold: none: the label is the merge.
        halvings: as of `Predictor`.

    Raises:
        BundleError: when a part is missing or damaged.
        InputError: for a device or method that does not exist, or what a composite cannot do.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        device: str = "cpu",
        *,
        method: str | None = None,
        options: Mapping[str, Any] | None = None,
        others: Sequence[Bundle] = (),
        crf: CRF | None = None,
        threshold: str | None = None,
        halvings: int = 0,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        for asked, what in ((others, "an ensemble"), (crf, "a CRF"), (threshold, "a threshold")):
            if asked:
                raise InputError(f"{self.bundle.name} is put together from several networks: {what} is not possible.")
        self.device, self.method, self.crf, self.threshold = checked_device(device), method, None, None
        self._cut = CutOf()
        given: dict[str, Any] = {"method": method, "options": options, "halvings": halvings}
        self._parts = [Predictor(part, self.device, **given) for part in self.bundle.parts]
        first = self._parts[0]  # stands for all where one is needed
        self.options, self.network, self.layout = first.options, first.network, first.layout

    @property
    def own_maps(self) -> dict[str, MapInfo]:
        return {}

    def _look(self, scan: MetaTensor, asked: Asked, progress: Progress, seconds: dict[str, float]) -> Look:
        ids = [part.labels for part in self.bundle.uncertainty.parts or []]
        wanted = {label.id for label in asked.labels}
        chosen = [place for place in reversed(range(len(ids))) if not asked.named or wanted & set(ids[place])]
        averages = {}
        for place in chosen:
            carried = [c for c, whole in enumerate(ids[place], start=1) if asked.carried and whole in wanted]
            averages[place] = self._parts[place].engine.average([0, *carried])
        on_disk = self._check_parts(scan, averages, len(wanted) * (1 + asked.carried), asked)
        store = Scratch(asked.scratch, on_disk=on_disk)
        cut, gatherer = CUT if store.on_disk else 0.0, None
        alone = all(isinstance(average, LogitAverage) and not average.several for average in averages.values())
        with timed(seconds, "maps"):
            for number, (place, average) in enumerate(averages.items()):
                part, own = self._parts[place], ids[place]
                volume = part.preprocessing({"image": scan})["image"]
                grid, plan = part.engine.over(scan, volume, asked.box)
                if gatherer is None:
                    gatherer = CompositeGatherer(scan.shape[1:], store, covered=grid.covered, cut=cut)
                gatherer.begin(own, wanted, grid.planes_axis(plan.axis))
                report: dict[str, Any] = {"progress": progress, "seconds": seconds, "part": (number, len(chosen))}
                with pooled_features(part.network.backbone) as features:
                    for chunk in part.engine.chunks(volume, grid, plan, average, **report):
                        gatherer.add(chunk)
            progress("putting the parts together", 0.8)
            found = gatherer.finish(alone=alone)
        seconds["maps"] -= seconds["network"]
        spread = Spread(None, _NO_SHAPES)
        left_out = sorted(set(range(len(ids))) - set(chosen))
        return Look(found, spread, store, features.vector, alone, True, _notes(left_out, len(ids)))

    def _check_parts(self, scan: MetaTensor, averages: Mapping[int, Average], boxes: int, asked: Asked) -> bool:
        """Whether the maps go to files; raises `InputError` where the largest part, and the whole, take too much."""
        bytes_of = np.dtype(np.float32).itemsize
        scalars = bytes_of * (len(MEASURES) + len(NAMES) - len(WHOLE_NUMBERS) + 1) + len(WHOLE_NUMBERS) + 1
        on_disk = (scalars + bytes_of * boxes) * scan[0].numel() > IN_MEMORY_BYTES
        needs = [
            self._parts[place].need(scan, average, asked.box, scalars=scalars, boxes=boxes, on_disk=on_disk)
            for place, average in averages.items()
        ]
        largest = Need(*(max(getattr(one, field.name) for one in needs) for field in fields(Need)))
        largest.check(sized(scan), self.device, Path(asked.scratch or gettempdir()))
        return on_disk


def _notes(left_out: Sequence[int], parts: int) -> dict[str, str]:
    """What a look does not know that left parts out."""
    if not left_out:
        return {}
    which = ", ".join(str(place + 1) for place in left_out)
    text = (
        f"Of the {parts} networks of this model, number {which} did not run, since none of the structures that were "
        "named are theirs. What they would have found counts as background here, or as what other networks say."
    )
    return dict.fromkeys(("error_probability", "predictive_entropy", "margin_risk"), text)
