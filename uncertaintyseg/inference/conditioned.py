"""Corrections that move a whole segmentation: clicks on the scan condition the logits of its region (METHODS 14).

The network does not run again. What conditioning changes in the region's maps is added to what the inference stored, so
without clicks the result is the stored one bit for bit, and so it is again when the last click is taken back. A clicked
voxel itself has the class that a person gave it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.active.acquisition import entropy_near_foreground
from uncertaintyseg.data.geometry import resample, spacing_mm, voxel_volume_ml
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import Head
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.reviewing import probabilities_of
from uncertaintyseg.inference.shapes import FEWEST, SAMPLES, pairs, shape_spread
from uncertaintyseg.inference.state import affine_of
from uncertaintyseg.logits import Conditioned, GaussianLogits, Moments, most_likely
from uncertaintyseg.measures import risk_maps
from uncertaintyseg.review.calibration import MEASURE, Calibration
from uncertaintyseg.review.conditioning import ERROR, REACH_MM, Clicked, condition, said_once
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.existing_label import label_error
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.structures import Drawn, structure_table
from uncertaintyseg.wire import Label, MapInfo

SITES = 96
"""Of a scribble, voxels spread evenly over it condition the rest until there are so many in all; all are painted."""
UNDECIDED = 1e-3
"""Voxels whose likeliest class is surer than 1 - this are counted and not drawn for the volume interval."""
DRAWN = 2**21
"""Voxels x draws for the volume interval at most, so that it stays interactive; none where that is too few draws."""
NO_PROMISE = "corrected: no promise holds after clicks"


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
        InputError: The inference was made for some of the structures only.
    """

    def __init__(
        self, head: Head, base: Prediction, labels: Sequence[Label], calibration: Calibration | None = None
    ) -> None:
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
    def given(self, clicks: Sequence[Click], *, reach_mm: float = REACH_MM, error: float = ERROR) -> Corrected:
        """The segmentation given all clicks so far, whatever their order; its label is made first.

        Args:
            clicks: of all corrections that hold; one taken back is left out.
            reach_mm: how far a click is heard.
            error: how often a click is taken to be a slip.

        Raises:
            InputError: for a click outside the scan, of a class that the model does not have, or a voxel that is said
                to be two classes.
        """
        started = time.perf_counter()
        said = self._checked(clicks)
        at, heard = self._on_model(clicks)
        clicked = None
        if heard.any():
            chosen = spread([click for click, hit in zip(clicks, heard, strict=True) if hit], at[heard])
            voxels, classes = (torch.tensor(part, device=self.device) for part in zip(*chosen, strict=True))
            spacing = spacing_mm(self.base.state.affine)
            clicked = condition(self.prior, voxels, classes, spacing, reach_mm=reach_mm, error=error)
        return Corrected(self, clicks, said, clicked, int((~heard).sum()), error, started)

    def _checked(self, clicks: Sequence[Click]) -> dict[tuple[int, int, int], int]:
        """What a person said of each voxel."""
        known = {0, *(item.id for item in self.labels)}
        for click in clicks:
            if click.label not in known:
                raise InputError(f"click {list(click.voxel)}: there is no class {click.label}.")
            if not all(0 <= i < size for i, size in zip(click.voxel, self.base.label.shape, strict=True)):
                shape = " x ".join(map(str, self.base.label.shape))
                raise InputError(f"click {list(click.voxel)}: outside the scan of {shape} voxels.")
        return said_once((click.voxel, click.label) for click in clicks)

    def _on_model(self, clicks: Sequence[Click]) -> tuple[np.ndarray, np.ndarray]:
        """Flat index `[k]` of the region's voxel at each click, and whether the click is heard there.

        That is where the region reaches. Where voxels of the scan that are said to be two classes share one of the
        model's, the class nearest to its centre is heard.
        """
        if not clicks or self.prior is None:
            return np.zeros(len(clicks), np.int64), np.zeros(len(clicks), bool)
        state = self.base.state
        ijk = np.array([[*click.voxel, 1.0] for click in clicks]).T
        shape = np.array(self.prior.mean.shape[2:])
        places = (np.linalg.inv(state.region_affine) @ self.base.affine @ ijk)[:3].T
        found = np.rint(places).astype(np.int64)
        inside = ((found >= 0) & (found < shape)).all(1)
        at = np.ravel_multi_index(found.clip(0, shape - 1).T, shape)
        off = np.square(places - found).sum(1).round(9)
        nearest: dict[int, tuple[float, int]] = {}
        for voxel, far, click in zip(at.tolist(), off.tolist(), clicks, strict=True):
            nearest[voxel] = min(nearest.get(voxel, (np.inf, 0)), (far, click.label))
        wins = [nearest[voxel][1] == click.label for voxel, click in zip(at.tolist(), clicks, strict=True)]
        return at, inside & wins


class Corrected:
    """A case after clicks.

    Attributes:
        label: class ids on the scan's grid, uint8 `[*S]`.
        driven_by: the map that the error probability is read from, known once there are maps.
        moved: "shape" where clicks moved the segmentation around them, "voxel" where only the clicked voxels.
        alone: clicks that moved only their voxel: no voxel shares noise with it, the inference kept nothing there, or a
            click of another class is nearer to the middle of the model's voxel.
        seconds: wall time until the label, and of what followed.
    """

    def __init__(
        self,
        case: ConditionedCase,
        clicks: Sequence[Click],
        said: Mapping[tuple[int, int, int], int],
        clicked: Clicked | None,
        alone: int,
        error: float,
        started: float,
    ) -> None:
        self.case, self.clicks, self.error, self.alone = case, clicks, error, alone
        self._said = said
        self.moved: Literal["shape", "voxel"] = "voxel" if clicked is None else "shape"
        self.clicked = clicked
        self.seconds: dict[str, float] = {}
        self.driven_by = case.base.driven_by
        self.label = case.base.label.copy()
        if clicked is not None:
            self._moments = _moments(clicked)
            self._probability = self._moved_probability()
            self.label[case.box] = most_likely(self._probability).to(torch.uint8).cpu().numpy()
        for voxel, label in self._said.items():
            self.label[voxel] = label
        self.seconds["label"] = time.perf_counter() - started

    def _moved_probability(self) -> Tensor:
        """E[p] `[C, *box]` on the scan."""
        case = self.case
        change = self._moments.probability - case._prior_moments.probability  # noqa: SLF001
        stored = case.stored([f"probability_{name}" for name in case.names]).to(change)
        structures = (stored + case.on_scan(change[0, 1:])).clamp_(0, 1)
        background = (1 - structures.sum(0)).clamp_min_(0)
        return torch.cat([background[None], structures])

    @torch.inference_mode()
    def maps(self) -> dict[str, np.ndarray]:
        """Risk maps on the scan's grid, float32 `[*S]` by name; without those that only the head itself can make."""
        started = time.perf_counter()
        base = self.case.base
        if self.clicked is None:
            maps = {name: values.copy() for name, values in base.maps.items()} if self.clicks else dict(base.maps)
        else:
            maps = self._moved_maps()
        self._say(maps)
        self.seconds["maps"] = time.perf_counter() - started
        return maps

    def _moved_maps(self) -> dict[str, np.ndarray]:
        case = self.case
        after = risk_maps(self._moments, case.names)
        change = case.on_scan(torch.cat(list(after.values()), dim=1)[0].sub_(case._prior_maps))  # noqa: SLF001
        moved = dict(zip(after, change, strict=True))
        index = most_likely(self._probability)
        found = {"error_probability": 1 - self._probability.gather(0, index[None])[0]}
        found |= {f"probability_{name}": p for name, p in zip(case.names, self._probability[1:], strict=True)}
        maps = {name: case.base.maps[name] for name in case.base.maps if name in after or name == "valid"}
        for name, value in moved.items():
            if name not in found:
                stored = torch.from_numpy(np.ascontiguousarray(case.base.maps[name][case.box])).to(value)
                found[name] = value.add_(stored).clamp_(*case.base.map_info[name].range)
        for name, value in found.items():
            maps[name] = np.array(case.base.maps[name], dtype=np.float32)
            maps[name][case.box] = value.cpu().numpy()
        driving = case.calibration and maps.get(case.calibration.measure)
        if driving is not None:
            maps[MEASURE][case.box] = case.calibration.recalibrated(driving[case.box])
        elif case.base.provenance.calibration:  # what drove is not known any more: one scale for the whole scan
            names = {name: maps[f"probability_{name}"] for name in case.names}
            maps[MEASURE], self.driven_by = label_error(self.label, names, case.labels), MEASURE
        return maps

    def _say(self, maps: Mapping[str, np.ndarray]) -> None:
        """Set the maps at the voxels of which a person said what they are: right but for the share of slips."""
        said = self._said
        if not said:
            return
        classes = len(self.case.labels) + 1
        known = torch.full((1, classes, len(said)), self.error / (classes - 1))
        known[0, list(said.values()), range(len(said))] = 1 - self.error
        where = tuple(np.array(list(said)).T)
        for name, values in risk_maps(Moments.of_probability(known), self.case.names).items():
            if name in maps:
                maps[name][where] = values[0, 0].numpy()

    def prediction(self, *, samples: int = SAMPLES, seed: int = 0) -> Prediction:
        """Label and maps with what they say: structures, regions, scores.

        Args:
            samples: whole segmentations drawn for the volume interval; fewer where much is undecided.
            seed: of these draws.
        """
        base, case = self.case.base, self.case
        if not self.clicks:
            return base
        maps = self.maps()
        started = time.perf_counter()
        drawn = self._drawn(samples, seed)
        self.seconds["samples"] = time.perf_counter() - started
        started = time.perf_counter()
        names = {name: maps[f"probability_{name}"] for name in case.names}
        error = maps["error_probability"]
        voxel_ml = voxel_volume_ml(base.affine)
        table = structure_table(self.label, names, error, case.labels, voxel_ml, drawn)
        score = entropy_near_foreground(maps["predictive_entropy"], self.label, spacing_mm(base.affine))
        places = regions(self.label, error, names, case.labels, base.affine)
        self.seconds["review"] = time.perf_counter() - started
        params = base.provenance.params | {"clicks": len(self.clicks), "moved": self.moved, "alone": self.alone}
        return replace(
            base,
            label=self.label,
            maps=maps,
            map_info=self._map_info(maps),
            structures=table,
            regions=places,
            driven_by=self.driven_by,
            risk_coverage=review_curve(error, voxel_ml, None, valid=maps.get("valid")),
            guarantee=None,
            guarantee_reason=NO_PROMISE,
            case_score=score,
            case_scores={},
            state=None,
            provenance=base.provenance.model_copy(update={"params": params, "seconds": self.seconds}),
        )

    def _map_info(self, names: Iterable[str]) -> dict[str, MapInfo]:
        found = {name: self.case.base.map_info[name] for name in names}
        if self.driven_by != self.case.base.driven_by:
            found[MEASURE] = found[MEASURE].model_copy(update={"description": None})
        return found

    @torch.inference_mode()
    def _drawn(self, samples: int, seed: int) -> Drawn:
        """Volumes and Dice of whole segmentations given the clicks; voxels that are decided are counted, not drawn."""
        state, classes = self.case.base.state, len(self.case.labels) + 1
        if self.clicked is None:
            return Drawn("none: the clicks moved single voxels, no shapes")
        likely = self._moments.probability.flatten(2)[0]
        open_ = likely.amax(0) < 1 - UNDECIDED
        undecided = open_.nonzero()[:, 0]
        count = min(samples, DRAWN // max(len(undecided), 1))
        if count < min(samples, FEWEST):
            return Drawn("none: too much is undecided to draw whole segmentations while somebody waits")
        label = state.label_here(self.label, self.case.base.affine).flatten().to(likely.device)
        settled = pairs(label[~open_], most_likely(likely[:, ~open_]), classes)
        generator = torch.Generator(self.case.device).manual_seed(seed)
        draws = drawn_labels(self.clicked.logits, undecided, count, generator)
        voxel_ml = voxel_volume_ml(state.affine)
        given = draws, label[undecided], self.case.labels, voxel_ml
        return shape_spread(*given, source="given the clicks", settled=settled)


def spread(clicks: Sequence[Click], voxels: np.ndarray) -> list[tuple[int, int]]:
    """Voxel and class of the sites: all clicks, and voxels of scribbles evenly spread up to `SITES` in all."""
    said = list(zip(voxels.tolist(), (click.label for click in clicks), strict=True))
    points = {site for site, click in zip(said, clicks, strict=True) if not click.stroke}
    strokes = sorted(set(said) - points)
    room = max(SITES - len(points), 0)
    if len(strokes) > room:
        strokes = [strokes[i] for i in np.linspace(0, len(strokes) - 1, room).round().astype(int)]
    return sorted(points) + strokes


def drawn_labels(logits: GaussianLogits, voxels: Tensor, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Class indices `[n]` of some voxels in each of `count` whole segmentations.

    Args:
        logits: of one volume, `[1, C, *voxels]`; one channel for two classes.
        voxels: flat indices, `[n]`.
        count: how many.
        generator: of the draws.

    Raises:
        InputError: for logits of several volumes.
    """
    if len(logits.mean) != 1:
        raise InputError(f"the logits {tuple(logits.mean.shape)} are of {len(logits.mean)} volumes, not of one.")
    mean, covariance = logits.mean.flatten(2)[0, :, voxels], logits.covariance
    if not isinstance(covariance, Conditioned):  # nothing is shared with what was clicked: no click moved a voxel
        draws = (draw.flatten(2)[0, :, voxels] for draw in logits.sample(count, generator))
        yield from map(_labels, draws)
        return

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype)

    own = covariance.own()
    marginal = None if own is None else own.marginal(voxels).item(0)
    for shared in covariance.shared_noise(count, voxels, generator):
        draw = mean + shared
        if marginal is not None:
            draw = draw + marginal.diagonal.sqrt() * normal(*mean.shape)
            if marginal.factor is not None:
                draw = draw + torch.einsum("ckn,kn->cn", marginal.factor, normal(*marginal.factor.shape[1:]))
        yield _labels(draw)


def _labels(logits: Tensor) -> Tensor:
    """Class indices `[n]` of logits `[C, n]`; one channel for two classes."""
    return (logits[0] > 0).long() if len(logits) == 1 else most_likely(logits)


def _moments(clicked: Clicked) -> Moments:
    """Moments of all voxels, the clicked ones' with their own noise moved."""
    moments, own = clicked.logits.moments(), clicked.own.moments()
    for values, at_clicks in (
        (moments.probability, own.probability),
        (moments.second_moment, own.second_moment),
        (moments.expected_entropy, own.expected_entropy),
    ):
        values.flatten(2)[..., clicked.voxels] = at_clicks
    return moments
