"""What the cases of a training will take here while it runs, and where `train` will hold them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from uncertaintyseg.data.splitting import planned_split
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.stream.need import free_memory
from uncertaintyseg.planning.choices import Choice
from uncertaintyseg.planning.fingerprint import Fingerprint
from uncertaintyseg.training.case_cache import choose, gigabytes, room_in, user_cases
from uncertaintyseg.training.case_sizes import CaseSize

if TYPE_CHECKING:
    from uncertaintyseg.planning.plan import Plan


def held_size(plan: Plan, fingerprint: Fingerprint) -> CaseSize:
    """Of all cases that are trained or validated on, on the plan's grid."""
    ids = [case.id for case in fingerprint.cases]
    parts = planned_split(fingerprint.dataset.folder, ids)
    wanted, voxel = {*parts["train"], *parts["validation"]}, math.prod(plan.spacing)
    channels, structures = len(fingerprint.channels), len(fingerprint.dataset.labels)
    return CaseSize.together(
        CaseSize.of(math.prod(case.shape) * math.prod(case.spacing) / voxel, channels, structures)
        for case in fingerprint.cases
        if case.id in wanted
    )


def held_choice(plan: Plan, fingerprint: Fingerprint, *, free: int | None = None, room: int | None = None) -> Choice:
    """Memory or disk, how much of it, and why.

    Args:
        plan: with its spacing.
        fingerprint: of the data.
        free: bytes of memory; None: of this machine now.
        room: bytes of the disk with the user's caches; None: of this machine now.
    """
    size, folder = held_size(plan, fingerprint), user_cases()
    free = free_memory() if free is None else free
    room = room_in(folder) if room is None else room
    try:
        kind, why = choose("auto", size, size.disk, free, room, folder)
        taken = size.disk if kind == "disk" else size.memory
        value = f"{gigabytes(taken)} {'on disk' if kind == 'disk' else 'in memory'}"
    except InputError as error:
        value, why = f"neither memory nor disk of this machine hold them ({gigabytes(size.disk)})", str(error)
    return Choice("cases, preprocessed", value, why, "train --cache")
