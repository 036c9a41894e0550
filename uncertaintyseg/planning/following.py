"""What to run after a plan, the same on terminal and page: from training to use, with the head that is trained."""

from __future__ import annotations

import math
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uncertaintyseg.data.splitting import SHARES, planned_split
from uncertaintyseg.review.calibration import FEWEST

if TYPE_CHECKING:
    from uncertaintyseg.planning.fingerprint import Fingerprint
    from uncertaintyseg.planning.plan import Plan

HEAD = "low_rank"
"""Of the second training: the one that knows where it is unsure."""


@dataclass(frozen=True)
class Next:
    """One thing to run."""

    command: str | None
    """None: it would be refused, and `why` says for what."""
    why: str
    """What it is for."""


def next_steps(plan: Plan, fingerprint: Fingerprint, models: Path) -> list[Next]:
    """What to run, in order.

    Args:
        plan: made from the fingerprint.
        fingerprint: of the data.
        models: folder with the bundle that was written; what is trained goes there too.
    """
    data, folder = quoted(fingerprint.dataset.folder), quoted(models)
    plain, head = f"{plan.task}_deterministic", f"{plan.task}_{HEAD}"
    train = f"uncertaintyseg train {plain} {data}"
    channels = fingerprint.dataset.channels
    scan = "SCAN" if len(channels) == 1 else " ".join(f"--channel {quoted(f'{name}=FILE')}" for name in channels)
    parts = planned_split(fingerprint.dataset.folder, [case.id for case in fingerprint.cases])
    return [
        Next(
            f"{train} --models {folder} --output {folder}",
            "Train it; a training that was ended goes on when it is started again",
        ),
        Next(
            f"{train} --head {HEAD} --models {folder} --output {folder}",
            "Then a head that knows where it is unsure, on the same backbone",
        ),
        _calibrate(len(parts["calibration"]), f"uncertaintyseg calibrate {head} {data} --models {folder}"),
        _evaluate(len(parts["test"]), f"uncertaintyseg evaluate {head} {data} --models {folder}"),
        Next(f"uncertaintyseg predict {head} {scan} --output prediction --models {folder}", "Segment a new scan"),
        Next(f"uncertaintyseg serve --studies SCANS --models {folder}", "Or a folder of them, in 3D Slicer"),
    ]


def quoted(text: str | os.PathLike[str]) -> str:
    """A word of a command line, as this system's shell takes it."""
    return subprocess.list2cmdline([str(text)]) if os.name == "nt" else shlex.quote(str(text))


def _calibrate(left: int, command: str) -> Next:
    if left >= FEWEST:
        return Next(command, "Have what it promises hold")
    subjects = math.ceil(FEWEST / SHARES["calibration"])
    return Next(
        None,
        f"{left or 'no'} case{'' if left == 1 else 's'} will be left to calibrate on, {FEWEST} are needed: from "
        f"{subjects} subjects on so many are kept, and calibrate takes others with --cases. Until then its "
        "probabilities are its own opinion",
    )


def _evaluate(left: int, command: str) -> Next:
    if left:
        return Next(command, "See how good it is, on cases that it has never seen")
    subjects = math.ceil(1 / SHARES["test"])
    return Next(None, f"no case will be left to test on: from {subjects} subjects on there is one")
