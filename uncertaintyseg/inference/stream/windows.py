"""Windows in order along one axis: what no later window reaches is finished, and its memory used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from uncertaintyseg.inference.stream.averages import Average, Contribution
from uncertaintyseg.inference.stream.layout import WindowPlan

SLAB_BYTES = 2**26
"""Planes that are handed on at once; at least one."""


class Slab(NamedTuple):
    """Finished planes of the model's grid.

    Attributes:
        axis: that the planes follow one another along.
        corner: of the model's grid, where they begin along each of its axes.
        values: averages by name, `[k, planes, *other axes]`.
    """

    axis: int
    corner: tuple[int, ...]
    values: Mapping[str, Tensor]

    @property
    def planes(self) -> range:
        """Which planes of the model's grid these are."""
        first = self.corner[self.axis]
        return range(first, first + next(iter(self.values.values())).shape[1])


@torch.inference_mode()
def run_windows(
    volume: Tensor,
    plan: WindowPlan,
    average: Average,
    device: str | torch.device = "cpu",
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    slab_bytes: int = SLAB_BYTES,
) -> Iterator[Slab]:
    """Run every window of a plan and yield the planes of its averages, each once and in order; no gradient.

    Args:
        volume: `[channels, *shape]`, anywhere; windows go to the device one at a time.
        plan: the windows.
        average: what is read off a window.
        device: that the network is on; what is carried between windows lies there too.
        progress: called with how many windows are done and how many there are.
        slab_bytes: most that one slab takes, unless one plane takes more.
    """
    ring, done = _Ring(plan, device), 0
    for start in plan.starts[plan.axis]:
        yield from ring.finished(start, slab_bytes)
        for corner in plan.corners(start):
            patch = plan.patch(volume, corner).to(device, torch.float32)
            ring.add(corner, average.read(patch))
            done += 1
            progress(done, len(plan))
    yield from ring.finished(plan.starts[plan.axis][-1] + plan.window[plan.axis], slab_bytes)


class _Ring:
    """Weighted sums over as many planes as a window has: plane `i` lies at `i` modulo that number."""

    def __init__(self, plan: WindowPlan, device: str | torch.device) -> None:
        self.plan, self.axis, self.length = plan, plan.axis, plan.window[plan.axis]
        self.low = [starts[0] for starts in plan.starts]
        self.shape = [self.length if a == self.axis else size for a, size in enumerate(plan.reach)]
        self.weights = plan.weights.to(device)
        self.total = torch.zeros(self.shape, device=device)
        self.sums: dict[str, Tensor] = {}
        self.done = self.low[self.axis]

    def add(self, corner: Sequence[int], contributions: Iterator[Contribution]) -> None:
        for here, there in self._pieces(corner, self.plan.window):
            self.total[here] += self.weights[there]
        for part, share, values in contributions:
            first = [corner[0] + part.start, *corner[1:]]
            size = [part.stop - part.start, *self.plan.window[1:]]
            weights = self.weights[part]
            for name, value in values.items():
                if name not in self.sums:
                    self.sums[name] = value.new_zeros((value.shape[0], *self.shape))
                for here, there in self._pieces(first, size):
                    target = self.sums[name][(slice(None), *here)]
                    target.addcmul_(value[(slice(None), *there)], weights[there], value=share)

    def _pieces(self, first: Sequence[int], size: Sequence[int]) -> Iterator[tuple[tuple[slice, ...], ...]]:
        """Slices of the ring, and of what is added to it: two where it goes over the ring's end."""
        done = 0
        while done < size[self.axis]:
            at = (first[self.axis] + done) % self.length
            count = min(size[self.axis] - done, self.length - at)
            here = [slice(f - low, f - low + n) for f, low, n in zip(first, self.low, size, strict=True)]
            there = [slice(0, n) for n in size]
            here[self.axis], there[self.axis] = slice(at, at + count), slice(done, done + count)
            yield tuple(here), tuple(there)
            done += count

    def finished(self, until: int, slab_bytes: int) -> Iterator[Slab]:
        """Averages of the planes before `until`; the memory is clean afterwards."""
        covered, before = self.plan.covered, self.plan.before
        inner = [
            slice(part.start + pad - low, part.stop + pad - low)
            for part, pad, low in zip(covered, before, self.low, strict=True)
        ]
        plane = 4 * sum(len(value) for value in self.sums.values())
        plane *= max(1, self.total.numel() // self.length)
        while self.done < until:
            at = self.done % self.length
            count = min(max(1, slab_bytes // max(1, plane)), until - self.done, self.length - at)
            where = list(inner)
            where[self.axis] = slice(at, at + count)
            first = self.done - before[self.axis]
            keep = slice(max(0, -first), max(0, min(count, self.plan.shape[self.axis] - first)))
            if keep.start < keep.stop:
                corner = [part.start for part in covered]
                corner[self.axis] = first + keep.start
                total = self.total[tuple(where)].movedim(self.axis, 0)[keep]
                values = {
                    name: (value[(slice(None), *where)].movedim(self.axis + 1, 1)[:, keep] / total).contiguous()
                    for name, value in self.sums.items()
                }
                yield Slab(self.axis, tuple(corner), values)
            everywhere = [slice(None)] * len(self.shape)
            everywhere[self.axis] = slice(at, at + count)
            self.total[tuple(everywhere)] = 0
            for value in self.sums.values():
                value[(slice(None), *everywhere)] = 0
            self.done += count
