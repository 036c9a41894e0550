"""Prompts of a scan become channels of its volume, and a box is carried on from slice to slice (docs/adr/0022)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from uncertaintyseg.backbones.prompted import BOX, KEPT_BYTES, let_go_of_slices, marks_of, prompted
from uncertaintyseg.backbones.sam import Prompt
from uncertaintyseg.data.geometry import resample
from uncertaintyseg.data.prompts import Prompts
from uncertaintyseg.data.viewed import AsViewedd
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.described import sized
from uncertaintyseg.inference.passes.base import Passes
from uncertaintyseg.inference.stream.need import Need
from uncertaintyseg.inference.timing import Progress
from uncertaintyseg.segmenter import Network, Segmenter
from uncertaintyseg.wire import Label

LONG = 600.0
"""Seconds from which a run is asked about first."""


class Prompter(Protocol):
    """Says what is asked for in a scan."""

    def __call__(self, scan: MetaTensor) -> Prompts:
        """Prompts for a scan `[channels, X, Y, Z]`."""


class Allow(Protocol):
    """Decides whether a long run may go on."""

    def __call__(self, seconds: float) -> None:
        """Raise `InputError` if not; seconds are what the run takes at most."""


@dataclass(frozen=True)
class Asking:
    """Who says what is asked for, and who is asked before a long run.

    Attributes:
        prompts: of each scan; None: nobody has said anything.
        allow: see `Allow`.
        clock: seconds, for estimates.
    """

    prompts: Prompter | None = None
    allow: Allow = lambda seconds: None
    clock: Callable[[], float] = time.perf_counter


def prompted_volume(
    scan: MetaTensor,
    preprocessing: Callable[[dict[str, MetaTensor]], dict[str, MetaTensor]],
    network: Segmenter,
    runner: Network,
    labels: Sequence[Label],
    asking: Asking,
    device: str = "cpu",
    progress: Progress = lambda stage, fraction: None,
) -> tuple[MetaTensor, Prompts | None]:
    """A preprocessed scan `[1, *]`; of a model that is prompted with marks of each structure `[1 + K, *]`.

    Args:
        scan: as it was read.
        preprocessing: of the model.
        network: of the model.
        runner: it, or passes around it: what the run takes is estimated by them.
        labels: the model's structures.
        asking: says what is asked for.
        device: that the network is on.
        progress: called with a stage and the fraction done.

    Raises:
        InputError: where a model that is prompted is asked for nothing, or for something that is not there, and for
            prompts to another model.
        TooLargeError: for a scan whose slices take more memory than there is once their pixels are square.
    """
    backbone = prompted(network)
    if backbone is None:
        if asking.prompts is not None:
            raise InputError(
                "this model has learnt what it segments and takes no prompts; boxes and points are for SAM and its kin "
                "(uncertaintyseg import FOLDER), corrections for `uncertaintyseg correct`."
            )
        return preprocessing({"image": scan})["image"], None
    prompts = Prompts() if asking.prompts is None else asking.prompts(scan)
    if not prompts:
        raise InputError(
            'this model segments what it is asked for: give a box (--box "8,12,6; 20,31,6=NAME"), a point (--point '
            "20,25,11=NAME), or the label of another model (--prompts-from MODEL)."
        )
    prompts.check(scan.shape[1:], {label.id: label.name for label in labels})
    volume = _sliced(scan, preprocessing, prompts.plane, len(labels), network, device)
    sweep = _Sweep(volume, network, device, prompts.margin)
    asked = [_Asked.of(label.id, prompts, scan, volume) for label in labels]
    if not any(one.keys for one in asked):
        raise InputError("points of the background alone ask for no structure: add a box or a point of one.")
    most = sum(len({place for reached in one.within.values() for place in reached}) for one in asked)
    _check_time(sweep, asked, runner, most, asking)
    marks = torch.zeros((len(labels), *volume.shape[1:]), dtype=torch.uint8)
    done = 0
    for structure, one in enumerate(asked):
        for place, drawn in sweep.carried(structure, one):
            marks[structure, ..., place] |= drawn
            done += 1
            progress("carrying boxes on", 0.1 * done / most)
    found = torch.cat([volume.as_tensor().float(), marks.float()])
    about = {name: value for name, value in volume.meta.items() if name != "affine"}
    return MetaTensor(found, affine=volume.affine, meta=about), prompts


def check_room(
    need: Need, network: Segmenter, name: str, device: str, scratch: Path, most_kept: int = KEPT_BYTES
) -> None:
    """As `Need.check`; encoded slices that networks keep make room, and those of this run take what it leaves at most.

    Args:
        need: of the scan.
        network: that it runs through.
        name: as of `Need.check`.
        device: as of `Need.check`.
        scratch: as of `Need.check`.
        most_kept: bytes of encoded slices, however much is left.
    """
    if need.left(device) < 0:
        let_go_of_slices()
    need.check(name, device, scratch)
    backbone = prompted(network)
    if backbone is not None:
        backbone.most_kept = min(most_kept, backbone.kept_bytes + max(need.left(device), 0))


def _sliced(
    scan: MetaTensor,
    preprocessing: Callable[[dict[str, MetaTensor]], dict[str, MetaTensor]],
    plane: str | None,
    structures: int,
    network: Segmenter,
    device: str,
) -> MetaTensor:
    """The scan as slices of a plane, of this scan alone: a predictor is kept and serves others after it."""
    with ExitStack() as stack:
        for transform in getattr(preprocessing, "transforms", ()):
            if isinstance(transform, AsViewedd):
                stack.enter_context(transform.along(plane))
                volume = math.prod(transform.shape(scan))
                copies = 4 * (3 + structures) + structures  # scaled, in order and with marks, which come as bytes first
                found = Need(device=0, host=copies * volume, disk=0)
                check_room(found, network, sized(scan), device, Path(), network.backbone.most_kept)
        return preprocessing({"image": scan})["image"]


@dataclass(frozen=True)
class _Asked:
    """What is asked for one structure.

    Attributes:
        keys: what was said, by slice: marks `[columns, rows]`.
        outside: marks of what is none of it, by slice.
        within: slices that each key may be carried on to, itself among them.
        carry: whether it is carried on from the keys.
    """

    keys: dict[int, Tensor]
    outside: dict[int, Tensor]
    within: dict[int, range]
    carry: bool

    @classmethod
    def of(cls, label: int, prompts: Prompts, scan: MetaTensor, volume: MetaTensor) -> _Asked:
        onto = np.linalg.inv(np.asarray(volume.affine, np.float64)) @ np.asarray(scan.affine, np.float64)
        shape, drawn, outside = volume.shape[1:], dict[int, Tensor](), dict[int, Tensor]()
        spans: list[tuple[int, int]] = []

        def draw(place: int, prompt: Prompt, into: dict[int, Tensor] = drawn) -> None:
            into[place] = into.get(place, 0) | marks_of(prompt, shape[:2])

        for box in (box for box in prompts.boxes if box.label == label):
            low, high = _box_on(onto, box.first, box.last, shape)
            draw((low[2] + high[2]) // 2, Prompt((*low[:2], *high[:2])))
            spans += [(low[2], high[2])] if low[2] < high[2] else []
        for point in (point for point in prompts.points if point.label == label):
            at = _box_on(onto, point.voxel, point.voxel, shape)[0]
            draw(at[2], Prompt(None, [at[:2]]))
        for point in (point for point in prompts.points if point.label == 0):
            at = _box_on(onto, point.voxel, point.voxel, shape)[0]
            draw(at[2], Prompt(None, [], [at[:2]]), outside)
        if drawn or prompts.label is None:
            return cls(drawn, outside, {key: _within(key, spans, shape[2]) for key in drawn}, carry=True)
        given = torch.from_numpy(np.ascontiguousarray(prompts.label == label)).to(torch.uint8)[None]
        mask = resample(given, scan.affine, volume.affine, shape, nearest=True)[0] > 0
        places = mask.flatten(0, 1).any(0).nonzero().flatten().tolist()
        around = {place: _around(mask[..., place], prompts.margin) for place in places}
        return cls(around, outside, {place: range(place, place + 1) for place in places}, carry=False)

    def all_of(self, place: int, marks: Tensor) -> Tensor:
        """Marks of a slice with what is said to be none of the structure there."""
        return marks | self.outside[place] if place in self.outside else marks


class _Sweep:
    """Looks at single slices of a volume, once as the network is."""

    def __init__(self, volume: MetaTensor, network: Segmenter, device: str, margin: float) -> None:
        self.volume, self.backbone, self.device, self.margin = volume.as_tensor(), network.backbone, device, margin

    def window(self, structure: int, place: int, marks: Tensor) -> Tensor:
        """A slice that asks for one structure, `[1, 1 + K, columns, rows, 1]`."""
        asked = torch.zeros((self.backbone.structures, *marks.shape))
        asked[structure] = marks
        picture = self.volume[:, :, :, place].float()
        return torch.cat([picture, asked])[None, ..., None].to(self.device)

    @torch.inference_mode()
    def mask(self, structure: int, place: int, marks: Tensor) -> Tensor:
        """Pixels `[columns, rows]` that are more likely of the structure than not."""
        return (self.backbone(self.window(structure, place, marks))[0, structure, ..., 0] > 0).cpu()

    def carried(self, structure: int, asked: _Asked) -> Iterator[tuple[int, Tensor]]:
        """Marks of each slice that the structure is asked for in, the keys' and those that follow from them.

        From each key both ways: the box around what was found, with a margin, is asked for in the next slice, until
        nothing is found in it, the slices or the key's own box end, or another key is nearer. What lies outside of the
        last box, with that margin, is not followed.
        """
        yield from ((place, asked.all_of(place, marks)) for place, marks in asked.keys.items())
        if not asked.carry:
            return
        keys = sorted(asked.keys)
        for number, key in enumerate(keys):
            before, after = asked.within[key].start - 1, asked.within[key].stop
            before = max(before, (keys[number - 1] + key) // 2) if number else before
            after = min(after, (key + keys[number + 1]) // 2 + 1) if number + 1 < len(keys) else after
            found = self.mask(structure, key, asked.all_of(key, asked.keys[key]))
            start = _around(found, self.margin, asked.keys[key])
            for way in (range(key - 1, before, -1), range(key + 1, after)):
                marks = start
                for place in way:
                    if marks is None:
                        break
                    said = asked.all_of(place, marks)
                    yield place, said
                    marks = _around(self.mask(structure, place, said), self.margin, marks)


def _within(key: int, spans: Sequence[tuple[int, int]], slices: int) -> range:
    """Slices that a key may be carried on to: those of the boxes over several slices that it lies in, else all."""
    around = [(first, last) for first, last in spans if first <= key <= last] or [(0, slices - 1)]
    return range(min(first for first, _ in around), max(last for _, last in around) + 1)


def _around(mask: Tensor, margin: float, last: Tensor | None = None) -> Tensor | None:
    """Marks of the box around a mask `[columns, rows]` with a margin, a pixel at least; None of nothing.

    Args:
        mask: what was found.
        margin: share of the box's side that is added at each end.
        last: marks that it was found with: what is further than the margin from their box is left out.
    """
    shape = mask.shape
    if last is not None and (last & BOX).any():
        low, high = _ends(last & BOX, margin, shape)
        inside = torch.zeros_like(mask)
        inside[low[0] : high[0] + 1, low[1] : high[1] + 1] = True
        mask = mask & inside
    if not mask.any():
        return None
    low, high = _ends(mask, margin, shape)
    return marks_of(Prompt((*low, *high)), shape)


def _ends(mask: Tensor, margin: float, shape: Sequence[int]) -> tuple[list[int], list[int]]:
    """First and last pixel of the box around a mask, with a margin, within the slice."""
    pixels = mask.nonzero()
    low, high = pixels.amin(0), pixels.amax(0)
    more = (margin * (high - low + 1)).ceil().long() if margin else torch.zeros(2, dtype=torch.long)
    return (low - more).clamp_min(0).tolist(), (high + more).minimum(torch.tensor(shape) - 1).tolist()


def _box_on(
    onto: np.ndarray, first: Sequence[int], last: Sequence[int], shape: Sequence[int]
) -> tuple[list[int], list[int]]:
    """First and last voxel on the volume of a box of the scan's voxels, by their outer sides."""
    ends = np.array([[f - 0.5, end + 0.5] for f, end in zip(first, last, strict=True)])
    corners = np.stack(np.meshgrid(*ends, [1], indexing="ij")).reshape(4, -1)
    there = (onto @ corners)[:3]
    low = np.clip(np.round(there.min(1) + 0.5), 0, np.array(shape) - 1).astype(int)
    high = np.clip(np.round(there.max(1) - 0.5), low, np.array(shape) - 1).astype(int)
    return low.tolist(), high.tolist()


def _check_time(sweep: _Sweep, asked: Sequence[_Asked], runner: Network, slices: int, asking: Asking) -> None:
    """Ask before a run that may take long: its first slice is looked at, and all others take as long at most."""
    structure, one = next((number, one) for number, one in enumerate(asked) if one.keys)
    key = next(iter(one.keys))
    started = asking.clock()
    sweep.mask(structure, key, one.keys[key])
    encoded = asking.clock()
    sweep.mask(structure, key, one.keys[key])
    answering = asking.clock() - encoded
    looking = max(encoded - started - answering, 0.0)
    looks, passes = (runner.looks, runner.passes) if isinstance(runner, Passes) else (0, 1)
    seconds = slices * (looking * (1 + looks) + answering * (1 + passes))
    if seconds > LONG:
        asking.allow(seconds)
