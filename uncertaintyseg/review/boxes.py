"""The part of a volume that matters: most of a scan is neither labelled nor in doubt."""

from __future__ import annotations

import numpy as np


def box_of(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds a mask `[*S]`; an empty one for an empty mask."""
    box, part = [], mask
    for axis in range(mask.ndim):
        hit = np.flatnonzero(part.any(tuple(other for other in range(mask.ndim) if other != axis)))
        span = slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0)
        box.append(span)
        part = part[(*(slice(None),) * axis, span)]
    return tuple(box)
