"""A case after corrections: its label and maps, and what they say (METHODS 14)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from uncertaintyseg.active.acquisition import entropy_near_foreground
from uncertaintyseg.data.geometry import spacing_mm, voxel_volume_ml
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.shapes import FEWEST, SAMPLES, pairs, shape_spread
from uncertaintyseg.logits import Conditioned, GaussianLogits, Moments, most_likely
from uncertaintyseg.measures import risk_maps
from uncertaintyseg.review.calibration import MEASURE
from uncertaintyseg.review.conditioning import Clicked
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.enclosing import Box, Lasso, outside
from uncertaintyseg.review.existing_label import label_error
from uncertaintyseg.review.regions import regions
from uncertaintyseg.review.shape_features import with_shapes
from uncertaintyseg.review.structures import Drawn, structure_table
from uncertaintyseg.wire import MapInfo

if TYPE_CHECKING:
    from uncertaintyseg.inference.conditioned import Click, ConditionedCase

UNDECIDED = 1e-3
"""Voxels whose likeliest class is surer than 1 - this are counted and not drawn for the volume interval."""
DRAWN = 2**21
"""Voxels x draws for the volume interval at most, so that it stays interactive; none where that is too few draws."""
NO_PROMISE = "clicks have moved the label, and a promise is of the model's own"


class Corrected:
    """A case after corrections.

    Attributes:
        label: class ids on the scan's grid, uint8 `[*S]`.
        driven_by: the map that the error probability is read from, known once there are maps.
        moved: "shape" where clicks moved the segmentation around them, "voxel" where only the clicked voxels.
        alone: clicks and lassos that moved only their own voxels: nothing shares noise with them, the inference kept
            nothing there, or a click of another class is nearer to the middle of the model's voxel.
        seconds: wall time until the label, and of what followed.
    """

    def __init__(
        self,
        case: ConditionedCase,
        corrections: tuple[Sequence[Click], Sequence[Lasso], Sequence[Box]],
        said: Mapping[tuple[int, int, int], int],
        clicked: Clicked | None,
        alone: int,
        error: float,
        started: float,
    ) -> None:
        self.case, self.error, self.alone = case, error, alone
        self.clicks, self.lassos, self.boxes = corrections
        self._said = said
        self._out = np.empty(0, np.int64), torch.empty(len(case.labels) + 1, 0)
        self.moved: Literal["shape", "voxel"] = "voxel" if clicked is None else "shape"
        self.clicked = clicked
        self.seconds: dict[str, float] = {}
        self.driven_by = case.base.driven_by
        self.label = case.base.label.copy()
        if clicked is not None:
            self._moments = _moments(clicked)
            self._probability = self._moved_probability()
            self.label[case.box] = most_likely(self._probability).to(torch.uint8).cpu().numpy()
        self._end_at_boxes()
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

    def _end_at_boxes(self) -> None:
        """Let structures end where their boxes do, those of the inference and what clicks have made of them.

        What a voxel becomes may itself lie outside of its box.
        """
        classes, flat = len(self.case.labels) + 1, self.label.reshape(-1)
        denied = outside(self.case.base.label, self.boxes)
        new = denied or outside(self.label, self.boxes)
        while new:
            for class_id, voxels in new.items():
                denied[class_id] = np.union1d(denied.get(class_id, voxels), voxels)
            where = np.unique(np.concatenate(list(denied.values())))
            probability = self._probability_at(where)
            cannot = torch.zeros(classes, len(where), dtype=torch.bool, device=probability.device)
            for class_id, voxels in denied.items():
                cannot[class_id, np.searchsorted(where, voxels)] = True
            probability = without(probability, cannot, self.error)
            flat[where] = most_likely(probability).to(torch.uint8).cpu().numpy()
            self._out = where, probability.cpu()
            new = outside(self.label, self.boxes)

    def _probability_at(self, voxels: np.ndarray) -> Tensor:
        """E[p] `[C, n]` of voxels of the scan, given the clicks."""
        base = self.case.base
        stored = [base.maps[f"probability_{name}"].reshape(-1)[voxels] for name in self.case.names]
        structures = torch.from_numpy(np.stack(stored).astype(np.float32)).clamp_(0, 1)
        found = torch.cat([(1 - structures.sum(0)).clamp_min_(0)[None], structures])
        if self.clicked is not None:
            start, size = [part.start for part in self.case.box], self._probability.shape[1:]
            places = np.stack(np.unravel_index(voxels, self.label.shape)) - np.array(start)[:, None]
            near = ((places >= 0) & (places < np.array(size)[:, None])).all(0)
            found[:, near] = self._probability[(slice(None), *places[:, near])].to(found)
        return found

    @torch.inference_mode()
    def maps(self) -> dict[str, np.ndarray]:
        """Risk maps on the scan's grid, float32 `[*S]` by name; without those that only the head itself can make."""
        started = time.perf_counter()
        base = self.case.base
        if self.clicked is None:
            moved = self._said or len(self._out[0])
            maps = {name: values.copy() for name, values in base.maps.items()} if moved else dict(base.maps)
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
        """Set the maps where boxes say what a voxel is not, and where a person said what it is, but for slips."""
        where, probability = self._out
        self._set(maps, np.unravel_index(where, self.label.shape), probability)
        said = self._said
        if said:
            classes = len(self.case.labels) + 1
            known = torch.full((classes, len(said)), self.error / (classes - 1))
            known[list(said.values()), range(len(said))] = 1 - self.error
            self._set(maps, tuple(np.array(list(said)).T), known)

    def _set(self, maps: Mapping[str, np.ndarray], where: tuple[np.ndarray, ...], probability: Tensor) -> None:
        if probability.shape[1]:
            for name, values in risk_maps(Moments.of_probability(probability[None]), self.case.names).items():
                if name in maps:
                    maps[name][where] = values[0, 0].numpy()

    def prediction(self, *, samples: int = SAMPLES, seed: int = 0) -> Prediction:
        """Label and maps with what they say: structures, regions, scores.

        Args:
            samples: whole segmentations drawn for the volume interval; fewer where much is undecided.
            seed: of these draws.
        """
        base, case = self.case.base, self.case
        if not (self.clicks or self.lassos or self.boxes):
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
        if any(row.shape for row in base.structures):
            table = with_shapes(table, self.label, base.affine)
        score = entropy_near_foreground(maps["predictive_entropy"], self.label, spacing_mm(base.affine))
        places = regions(self.label, error, names, case.labels, base.affine)
        self.seconds["review"] = time.perf_counter() - started
        params = base.provenance.params | {
            "clicks": len(self.clicks), "lassos": len(self.lassos), "boxes": len(self.boxes),
            "moved": self.moved, "alone": self.alone,
        }  # fmt: skip
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
        label = state.label_here(self.label, self.case.base.affine).flatten().to(likely.device)
        likeliest, open_ = most_likely(likely), likely.amax(0) < 1 - UNDECIDED
        ended = self.case.region_voxels(np.stack(np.unravel_index(self._out[0], self.label.shape), 1))
        likeliest[ended], open_[ended] = label[ended].to(likeliest), False  # a box has decided them
        undecided = open_.nonzero()[:, 0]
        count = min(samples, DRAWN // max(len(undecided), 1))
        if count < min(samples, FEWEST):
            return Drawn("none: too much is undecided to draw whole segmentations while somebody waits")
        settled = pairs(label[~open_], likeliest[~open_], classes)
        generator = torch.Generator(self.case.device).manual_seed(seed)
        draws = drawn_labels(self.clicked.logits, undecided, count, generator)
        voxel_ml = voxel_volume_ml(state.affine)
        given = draws, label[undecided], self.case.labels, voxel_ml
        return shape_spread(*given, source="given the clicks", settled=settled)


def without(probability: Tensor, denied: Tensor, error: float) -> Tensor:
    """Class probabilities `[C, n]` where some classes cannot be; each of these keeps the share of a slip at most.

    Args:
        probability: `[C, n]`.
        denied: `[C, n]`, never all of a voxel's.
        error: how often a person is taken to slip.
    """
    kept = torch.where(denied, probability.clamp_max(error / (len(probability) - 1)), probability)
    others = kept.masked_fill(denied, 0)
    total = others.sum(0)
    others[0] = torch.where(total > 0, others[0], 1.0)  # nothing else was thought of: the background
    room = 1 - kept.masked_fill(~denied, 0).sum(0)
    return torch.where(denied, kept, others / others.sum(0) * room)


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
