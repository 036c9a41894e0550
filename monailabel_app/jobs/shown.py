"""What a model is shown of the studies' corrected slices, and the models that are made so, in the worker."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import METADATA, Bundle

if TYPE_CHECKING:
    from monailabel_app.jobs.train import LabelledCase
    from uncertaintyseg.inference.prediction import Prediction

SHOWN = "shown"
"""Folder, beside the results."""
KEPT = 16
"""Models that were shown something; those that were longest unused go, and are made again when they are wanted."""


@dataclass(frozen=True)
class Shown:
    """Labelled cases whose slices a model is shown.

    Attributes:
        cases: that somebody has corrected.
        scans: SHA-256 of the scan of each.
        labels: SHA-256 of the label of each.
        first: id of the case whose slices go before those of all others; None: of none.
        folder: where models that were shown something are kept.
    """

    cases: tuple[LabelledCase, ...]
    scans: tuple[str, ...]
    labels: tuple[str, ...]
    first: str | None
    folder: str

    @property
    def key(self) -> str:
        """Of what is shown: a hash of ids, scans, labels and boxes (hex SHA-256), whatever the folder."""
        files = zip(self.cases, self.scans, self.labels, strict=True)
        said = [[case[0], scan, label, case[3]] for case, scan, label in files]
        return hashlib.sha256(json.dumps([said, self.first], sort_keys=True).encode()).hexdigest()

    def model(self, base: Bundle) -> Bundle:
        """The model that is shown them, made where it is not there. Raises `InputError` as `show_cases`."""
        from monailabel_app.jobs.train import as_cases  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.imports.universeg import show_cases  # noqa: PLC0415

        place = Path(self.folder) / hashlib.sha256(f"{base.checksum} {self.key}".encode()).hexdigest()
        if not (place / base.name / METADATA).is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            made = Path(mkdtemp(prefix=".new-", dir=place.parent))
            try:
                with TemporaryDirectory(prefix="uncertaintyseg-") as masks:
                    show_cases(base, as_cases(self.cases, Path(masks)), made, first=self.first)
                made.rename(place)
            except OSError:
                if not place.exists():  # else another process made the same first
                    raise
            finally:
                shutil.rmtree(made, ignore_errors=True)
        os.utime(place)
        for old in _kept(place.parent)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        return Bundle.load(place / base.name)


def shown_with(folder: Path, name: str, checksum: str) -> Bundle | None:
    """The model of that name and checksum among those that were shown something; None where it had to go."""
    for place in _kept(folder):
        try:
            found = Bundle.load(place / name)
        except BundleError:
            continue
        if found.checksum == checksum:
            return found
    return None


def forget_case(folder: Path, case: str) -> None:
    """Let go of the models that were shown slices of a case whose scan was removed: they hold these slices."""
    for place in _kept(folder):
        for path in place.glob("*/"):
            try:
                holds = case in (Bundle.load(path).uncertainty.origin or {}).get("examples", ())
            except BundleError:
                holds = True  # of whom, nobody can say
            if holds:
                shutil.rmtree(place, ignore_errors=True)


def say_same_patient(prediction: Prediction, bundle: Bundle, image: str, case: str | None) -> Prediction:
    """Say in the provenance of a prediction which of its examples are of the scan's patient."""
    from uncertaintyseg.imports.universeg import of_same_patient  # noqa: PLC0415 - torch belongs to the worker

    same, made_by = of_same_patient(bundle, Path(image), case), prediction.provenance
    told = [one.model_copy(update={"same_patient": one.case in same}) for one in made_by.examples]
    return replace(prediction, provenance=made_by.model_copy(update={"examples": told}))


def _kept(folder: Path) -> list[Path]:
    """Those that are there, the one that was used last first."""
    places = folder.glob("[!.]*") if folder.is_dir() else ()
    return sorted(places, key=_used, reverse=True)


def _used(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except FileNotFoundError:  # another process let it go
        return 0
