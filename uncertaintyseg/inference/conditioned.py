"""Corrections that move a whole segmentation: clicks on the scan condition the logits of its region (METHODS 14).

The network does not run again. What conditioning changes in the region's maps is added to what the inference stored, so
without clicks the result is the stored one bit for bit, and so it is again when the last click is taken back. A clicked
voxel itself has the class that a person gave it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.data.geometry import resample, spacing_mm
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import Head
from uncertaintyseg.inference.corrected import Corrected
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.reviewing import probabilities_of
from uncertaintyseg.inference.state import affine_of
from uncertaintyseg.logits import GaussianLogits, Moments
from uncertaintyseg.measures import risk_maps
from uncertaintyseg.review.calibration import Calibration
from uncertaintyseg.review.conditioning import ERROR, REACH_MM, condition, said_once
from uncertaintyseg.review.enclosing import Box, Lasso, check_box, lasso_voxels, middle
from uncertaintyseg.wire import Label

Voxel = tuple[int, int, int]
SITES = 96
"""Of a scribble, voxels spread evenly over it condition the rest until there are so many in all; all are painted."""


class Click(NamedTuple):
    """A voxel of the scan and what it is.

    Attributes:
        voxel: IJK on the scan's grid.
        label: class id, 0 for background.
        stroke: part of a scribble.
    """

    voxel: tuple[int, int, int]
    label: int
    stroke: bool = False


class ConditionedCase:
    """An inference that takes corrections; what does not change between them stays in memory.

    Args:
        head: of the network that made it.
        base: the inference, on the scan's grid.
        labels: the structures.
        calibration: of the model; where it is the one that the inference was made with, and clicks leave the map that
            drives, the error probability stays on its scale.

    Raises:
        InputError: The inference was made for some of the structures only, or of an image or a clip.
    """

    def __init__(
        self, head: Head, base: Prediction, labels: Sequence[Label], calibration: Calibration | None = None
    ) -> None:
        if base.measure.unit != "mL":
            raise InputError("clicks move shapes in volumes; this result is of an image or a clip: edit its label.")
        self.head, self.base, self.labels = head, base, labels
        same = calibration is not None and calibration.checksum == base.provenance.calibration
        self.calibration = calibration if same else None
        self.device = next(head.parameters()).device
        self.names = list(probabilities_of(base, labels))

    @cached_property
    def prior(self) -> GaussianLogits | None:
        """Logits of the region, two classes as one channel; None where voxels share nothing."""
        if self.base.state is None:
            return None
        features = torch.from_numpy(np.asarray(self.base.state.features, dtype=np.float32)).to(self.device)[None]
        with torch.inference_mode():
            logits = self.head(features).distribution
            if not (isinstance(logits, GaussianLogits) and logits.coherent):
                return None
            if logits.mean.shape[1] != 2:
                return logits
            return GaussianLogits(logits.mean[:, 1:] - logits.mean[:, :1], logits.covariance.difference())

    @cached_property
    def _prior_moments(self) -> Moments:
        return self.prior.moments()

    @cached_property
    def _prior_maps(self) -> Tensor:
        return torch.cat(list(risk_maps(self._prior_moments, self.names).values()), dim=1)[0]

    @cached_property
    def box(self) -> tuple[slice, ...]:
        """The part of the scan's grid that the region can reach."""
        return self.base.state.box_on(self.base.affine, self.base.label.shape)

    def on_scan(self, values: Tensor) -> Tensor:
        """Region maps `[K, *region]` on the box of the scan."""
        size = [part.stop - part.start for part in self.box]
        return resample(values, self.base.state.region_affine, affine_of(self.box, self.base.affine), size)

    def stored(self, names: Sequence[str]) -> Tensor:
        """Maps of the inference on the box, `[K, *box]`."""
        return torch.stack([torch.from_numpy(np.ascontiguousarray(self.base.maps[name][self.box])) for name in names])

    @torch.inference_mode()
    def given(
        self,
        clicks: Sequence[Click],
        lassos: Sequence[Lasso] = (),
        boxes: Sequence[Box] = (),
        *,
        reach_mm: float = REACH_MM,
        error: float = ERROR,
    ) -> Corrected:
        """The segmentation given all corrections so far, whatever their order; its label is made first.

        A lasso is painted and heard as one click in its middle; a structure ends at its boxes, which move nothing else
        (`review.enclosing`). Of a voxel a click says more than a lasso, a later lasso more than an earlier one, and all
        of them more than a box.

        Args:
            clicks: all that hold; one taken back is left out.
            lassos: likewise.
            boxes: likewise.
            reach_mm: how far a click is heard.
            error: how often a click is taken to be a slip.

        Raises:
            InputError: as of `check_corrections`.
        """
        started = time.perf_counter()
        inside = check_corrections(clicks, lassos, boxes, self.labels, self.base.label.shape)
        clicked_as = said_once((click.voxel, click.label) for click in clicks)
        said, middles = self._lassoed(lassos, inside, clicked_as)
        points = [*clicks, *middles]
        at, heard = self._on_model(points)
        clicked = None
        if heard.any():
            chosen = spread([click for click, hit in zip(points, heard, strict=True) if hit], at[heard])
            voxels, classes = torch.tensor(chosen, dtype=torch.long, device=self.device).reshape(-1, 2).unbind(1)
            spacing = spacing_mm(self.base.state.affine)
            clicked = condition(self.prior, voxels, classes, spacing, reach_mm=reach_mm, error=error)
        return Corrected(self, (clicks, lassos, boxes), said, clicked, int((~heard).sum()), error, started)

    def _lassoed(
        self, lassos: Sequence[Lasso], inside: Sequence[Sequence[Voxel]], clicked: Mapping[Voxel, int]
    ) -> tuple[dict[Voxel, int], list[Click]]:
        """What is said of each voxel by lassos and clicks, and a click in the middle of what each lasso still says."""
        said: dict[Voxel, int] = {}
        for lasso, voxels in zip(lassos, inside, strict=True):
            said.update(dict.fromkeys(voxels, lasso.label))
        said.update(clicked)
        spacing, middles = spacing_mm(self.base.affine), []
        for lasso, voxels in zip(lassos, inside, strict=True):
            still = np.array([voxel for voxel in voxels if said[voxel] == lasso.label])
            if len(still):
                middles.append(Click(middle(still, spacing), lasso.label))
        return said, middles

    def region_voxels(self, voxels: np.ndarray) -> np.ndarray:
        """Flat indices of the region's voxels that hold some of the scan's, IJK `[n, 3]`, each once, in order."""
        at, _, inside = self._in_region(voxels)
        return np.unique(at[inside])

    def _in_region(self, voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Flat index of the nearest voxel of the region, how far off its centre, and whether it is within, `[n]`."""
        state, shape = self.base.state, np.array(self.prior.mean.shape[2:])
        ijk = np.concatenate([voxels, np.ones((len(voxels), 1))], axis=1).T
        places = (np.linalg.inv(state.region_affine) @ self.base.affine @ ijk)[:3].T
        found = np.rint(places).astype(np.int64)
        inside = ((found >= 0) & (found < shape)).all(1)
        at = np.ravel_multi_index(found.clip(0, shape - 1).T, shape)
        return at, np.square(places - found).sum(1).round(9), inside

    def _on_model(self, clicks: Sequence[Click]) -> tuple[np.ndarray, np.ndarray]:
        """Flat index `[k]` of the region's voxel at each click, and whether the click is heard there.

        That is where the region reaches. Where voxels of the scan that are said to be two classes share one of the
        model's, the class nearest to its centre is heard.
        """
        if not clicks or self.prior is None:
            return np.zeros(len(clicks), np.int64), np.zeros(len(clicks), bool)
        at, off, inside = self._in_region(np.array([click.voxel for click in clicks]))
        nearest: dict[int, tuple[float, int]] = {}
        for voxel, far, click in zip(at.tolist(), off.tolist(), clicks, strict=True):
            nearest[voxel] = min(nearest.get(voxel, (np.inf, 0)), (far, click.label))
        wins = [nearest[voxel][1] == click.label for voxel, click in zip(at.tolist(), clicks, strict=True)]
        return at, inside & wins


def check_corrections(
    clicks: Sequence[Click],
    lassos: Sequence[Lasso],
    boxes: Sequence[Box],
    labels: Sequence[Label],
    shape: Sequence[int],
) -> list[list[Voxel]]:
    """Voxels inside of each lasso, once it is known that the corrections mean something.

    Args:
        clicks: on the scan.
        lassos: likewise.
        boxes: likewise.
        labels: the structures of the model.
        shape: of the scan, `[3]` voxels.

    Raises:
        InputError: for a correction outside the scan or of a class that the model does not have, a voxel that is
            clicked as two classes, or a lasso or box that is none.
    """
    known = {0, *(item.id for item in labels)}
    for click in clicks:
        if click.label not in known:
            raise InputError(f"click {list(click.voxel)}: there is no class {click.label}.")
        if not all(0 <= i < size for i, size in zip(click.voxel, shape, strict=True)):
            raise InputError(f"click {list(click.voxel)}: outside the scan of {' x '.join(map(str, shape))} voxels.")
    said_once((click.voxel, click.label) for click in clicks)
    for lasso in lassos:
        if lasso.label not in known:
            raise InputError(f"a lasso: there is no class {lasso.label}.")
    for box in boxes:
        if box.label not in known - {0}:
            raise InputError(f"a box holds a structure: there is none of class {box.label}.")
        check_box(box, shape)
    return [[tuple(voxel) for voxel in lasso_voxels(lasso.corners, shape).tolist()] for lasso in lassos]


def spread(clicks: Sequence[Click], voxels: np.ndarray) -> list[tuple[int, int]]:
    """Voxel and class of the sites: all clicks, and voxels of scribbles evenly spread up to `SITES` in all."""
    said = list(zip(voxels.tolist(), (click.label for click in clicks), strict=True))
    points = {site for site, click in zip(said, clicks, strict=True) if not click.stroke}
    strokes = sorted(set(said) - points)
    room = max(SITES - len(points), 0)
    if len(strokes) > room:
        strokes = [strokes[i] for i in np.linspace(0, len(strokes) - 1, room).round().astype(int)]
    return sorted(points) + strokes
