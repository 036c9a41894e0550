"""What may be spent: memory, and with it how wide and deep a network may be."""

from __future__ import annotations

import os
from dataclasses import dataclass

from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.memory import GB

_SHARE, _MOST_ON_A_CPU = 0.5, 8 * GB


@dataclass(frozen=True)
class Budget:
    """Memory to train in, and what follows from it."""

    name: str
    bytes: int
    features: int
    """Channels of the first level; each next one has twice as many."""
    widest: int
    levels: int
    voxels: int
    """Of a patch, at most: what a processor gets through in seconds."""
    device: str

    def widths(self, first: int | None = None) -> tuple[int, ...]:
        """Channels of all levels that there may be."""
        start = first or self.features
        return tuple(min(start * 2**level, max(self.widest, start)) for level in range(self.levels))


def find_budget(name: str) -> Budget:
    """A budget by name.

    Raises:
        InputError: for a name that is none.
    """
    if name == "cpu":
        memory = min(round(_SHARE * machine_memory()), _MOST_ON_A_CPU)
        return Budget(name, memory, 16, 128, 5, 64**3, "cpu")
    if name not in ("8GB", "24GB", "80GB"):
        raise InputError(f"--budget {name}: take cpu, or a GPU's memory: 8GB, 24GB or 80GB.")
    return Budget(name, int(name.removesuffix("GB")) * GB * 9 // 10, 32, 320, 6, 256**3, "cuda")


def machine_memory() -> int:
    """Bytes of this machine's memory; 8 GB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * GB
