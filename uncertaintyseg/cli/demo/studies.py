"""The folder of scans that the demo serves, and the references its annotator corrects with."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.one_file import as_one_file
from uncertaintyseg.data.phantom import write_phantoms
from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.errors import InputError

_MARK = ".uncertaintyseg-demo"
_PHANTOM_SEED = 1000
"""Phantoms no shipped model was trained on (those come from seed 0)."""
_HELD_OUT = "msd_hippocampus"


@dataclass(frozen=True)
class Studies:
    """Scans to serve, and what stands in for the annotator's knowledge.

    Attributes:
        folder: the studies folder, scans only.
        references: label file by case id.
        origin: where the scans come from, for the report.
    """

    folder: Path
    references: dict[str, Path]
    origin: str


def prepare(output: Path, data: Path | None, count: int) -> Studies:
    """Fill `output / "studies"` with scans from `data`, or with phantoms.

    Raises:
        InputError: when the output folder holds something else, or DATA has too few labelled single-file scans.
    """
    _empty(output)
    folder = output / "studies"
    if data is None:
        made = output / "phantoms"
        write_phantoms(made, count, seed=_PHANTOM_SEED)
        cases, origin = read_cases(made), f"{count} simulated CT phantoms"
    else:
        found = read_cases(data)
        cases = [case for case in found if case.label and case.label.is_file() and case.image.is_file()]
        if len(cases) < count:
            raise InputError(
                f"{data} has {len(cases)} labelled scans, the demo wants {count}: use --cases {len(cases)}."
            )
        held_out = set(read_split(_HELD_OUT)["calibration"])  # the shipped models have not seen these
        cases = sorted(cases, key=lambda case: (case.id not in held_out, case.id))[:count]
        origin = f"{count} scans of {data.resolve().name}"
    folder.mkdir(parents=True)
    for case in cases:
        if as_one_file(case.image, case.id, folder) == case.image:
            shutil.copyfile(case.image, folder / f"{case.id}{_suffix(case)}")
    return Studies(folder, {case.id: case.label for case in cases}, origin)


def _suffix(case: Case) -> str:
    return next(suffix for suffix in IMAGE_SUFFIXES if case.image.name.lower().endswith(suffix))


def _empty(output: Path) -> None:
    """Clear a former demo; refuse to touch any other folder's content."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()) and not (output / _MARK).is_file():
            raise InputError(f"{output} is not empty and not a former demo: choose another --output.")
        for entry in ("studies", "phantoms", "pictures", "downloads"):
            shutil.rmtree(output / entry, ignore_errors=True)
        (output / _MARK).touch()
    except OSError as error:
        raise InputError(
            f"{output} cannot be written ({os.strerror(error.errno)}): choose another --output."
        ) from error
