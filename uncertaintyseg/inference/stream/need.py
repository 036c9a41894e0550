"""What a scan will take, computed before it starts and held against what there is."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from uncertaintyseg.errors import TooLargeError
from uncertaintyseg.inference.stream.averages import Average
from uncertaintyseg.inference.stream.grid import CHUNK_BYTES
from uncertaintyseg.inference.stream.layout import WindowPlan
from uncertaintyseg.inference.stream.windows import SLAB_BYTES

_ACTIVATIONS = 6
"""Tensors of the last features' size that a network has at once: a skip, what it joins, and a layer's own."""
_READ = 2**27
"""What a head takes for the planes that it reads at once."""
_PREPARED = 24
"""Bytes of a voxel of the model's grid while the scan is brought there, in double precision."""
_CONTAINER = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Where a container says what it may take and what it has, in both versions of control groups."""
_GROUPS = 3
"""Copies of a slab or chunk while it is worked on."""


@dataclass(frozen=True)
class Need:
    """Bytes that a scan takes.

    Attributes:
        device: on the network's device: what is carried between windows, one window, and planes on their way.
        host: beside it in memory: the scan, the volume, and maps that are not in files.
        disk: files of maps.
    """

    device: int
    host: int
    disk: int

    def check(self, name: str, device: str, scratch: Path) -> None:
        """Refuse a scan that takes more than there is.

        Args:
            name: of the scan, for people.
            device: torch device.
            scratch: folder of the files.

        Raises:
            TooLargeError: with the figures, and the ways out.
        """
        checks, on_cpu = self._in_memory(device), _is_cpu(device)
        if self.disk:
            checks.append((f"room in {scratch}", self.disk, shutil.disk_usage(scratch).free))
        for what, needed, free in checks:
            if needed > free:
                on_other = "" if on_cpu else "compute on the CPU (--device cpu), "
                raise TooLargeError(
                    f"{name}: needs {_gb(needed)} of {what}, {_gb(free)} are free. Crop it, name a region of interest "
                    f"or only some structures, {on_other}or make room; if it is larger than a body, are the voxel "
                    "sizes in its header in mm?"
                )

    def left(self, device: str) -> int:
        """Bytes beside a scan that a network may still keep on its device; less than 0 where the scan does not fit."""
        spare = [free - needed for _, needed, free in self._in_memory(device)]
        return spare[-1] if min(spare) >= 0 else min(spare)

    def _in_memory(self, device: str) -> list[tuple[str, int, int]]:
        """Each memory that the scan takes, the device's last: its name, what is needed and what is free of it."""
        on_cpu = _is_cpu(device)
        found = [("memory", self.host + (self.device if on_cpu else 0), free_memory())]
        if not on_cpu:
            found.append((f"memory on {device}", self.device, torch.cuda.mem_get_info(device)[0]))
        return found


def need(
    plan: WindowPlan,
    average: Average,
    scan_shape: Sequence[int],
    *,
    features: int,
    kept: int,
    own: int,
    scalars: int,
    boxes: int,
    on_disk: bool,
    whole: int = 0,
) -> Need:
    """What one scan takes.

    Args:
        plan: its windows.
        average: what they average.
        scan_shape: of the scan.
        features: channels of the network's last features.
        kept: how many of these are averaged too.
        own: maps of the head's own.
        scalars: maps that have a value everywhere, bytes of a voxel.
        boxes: maps of single structures.
        on_disk: whether maps are files.
        whole: numbers of a voxel of the model's grid that are held everywhere at once.
    """
    carried = average.carried + own + kept
    plane = math.prod(plan.reach) // plan.reach[plan.axis]
    window, model, scan = math.prod(plan.window), math.prod(plan.shape), math.prod(scan_shape)
    on_scan = 4 * (average.classes + scalars // 4) * scan // max(scan_shape)  # planes run along the longest axis
    device = 4 * (carried + 1) * plane * plan.window[plan.axis]
    device += 4 * window * (_ACTIVATIONS * features + 2) + _READ
    device += _GROUPS * (max(SLAB_BYTES, 4 * carried * plane) + max(CHUNK_BYTES, on_scan)) + 4 * whole * model
    maps = scalars * scan
    # Probabilities of a voxel sum to 1: few structures share it, and their boxes hold all voxels about twice.
    structures = 4 * scan * (min(boxes, 2) if on_disk else boxes)
    host = 4 * scan + _PREPARED * model + 4 * scan
    return Need(device, host + (0 if on_disk else maps + structures), maps + structures if on_disk else 0)


def free_memory() -> int:
    """Bytes of memory that this process may still take."""
    free = psutil.virtual_memory().available
    for limit, used in _CONTAINER:
        try:
            allowed, taken = (
                Path("/sys/fs/cgroup", name).read_text(encoding="utf-8").strip() for name in (limit, used)
            )
        except OSError:  # no container, or no Linux
            continue
        if allowed.isdecimal():
            free = min(free, int(allowed) - int(taken))
    return max(free, 0)


def _is_cpu(device: str) -> bool:
    return torch.device(device).type != "cuda"


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
