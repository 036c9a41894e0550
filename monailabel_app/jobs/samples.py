"""Whole segmentations that a model finds plausible, drawn behind a stored result; the job that waits for them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ValidationError

from monailabel_app.errors import NotFoundError
from monailabel_app.jobs.job import Job, Step
from monailabel_app.jobs.results import ROUTE, ResultStore, gone
from monailabel_app.jobs.seal import Seal, is_whole, sealed, with_digest, without_digest
from monailabel_app.jobs.warm import warm_predictor
from monailabel_app.jobs.work import Report, Work
from uncertaintyseg import NUMBERS, wire
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import StorageError

_NAME = re.compile(r"((\d{1,19})-(\d{1,2}))-(\d{1,2})")
_TABLE = "samples.json"
_SETS = 8
"""Sets of draws that a result keeps: those asked for last."""


class _Table(BaseModel):
    """What was drawn together.

    Attributes:
        volumes_ml: of each, by structure.
        size_unit: what they are counted in.
        files: the volumes beside it.
    """

    volumes_ml: list[dict[str, float]]
    size_unit: wire.SizeUnit = "mL"
    files: Seal


@dataclass(frozen=True)
class Draw(Work):
    """Draw from a result that has a state; the fields from `bundle` on are those of `warm_predictor`."""

    key: ClassVar[None] = None

    @property
    def fills(self) -> str:
        """The result that the draws lie beside."""
        return self.result

    @property
    def loads(self) -> tuple[Hashable, ...]:
        """Its model."""
        return ((self.bundle, self.checksum),)

    result: str
    count: int
    seed: int
    results: str
    bundle: str
    checksum: str
    device: str

    def run(self, report: Report) -> dict[str, Any]:
        """Draw and store; returns a `wire.PlausibleLabels` as plain JSON."""
        report("drawing plausible segmentations", 0.1)
        store = ResultStore(Path(self.results))
        prediction, labels = store.prediction(self.result)
        predictor = warm_predictor(self.bundle, self.checksum, self.device)
        folder = Path(tempfile.mkdtemp(prefix=".samples-", dir=store.root))
        voxel_ml, about, drawn = prediction.measure.voxel, prediction.measure.about, []
        try:
            for number, label in enumerate(predictor.samples(prediction, self.count, self.seed, paths=True)):
                report("drawing plausible segmentations", (number + 1) / (self.count + 1))
                write_volume(folder / f"{number}.drawn.nii.gz", label, prediction.affine, about=about)
                voxels = np.bincount(label.ravel(), minlength=256)
                drawn.append({item.name: round(int(voxels[item.id]) * voxel_ml, 4) for item in labels})
            order = sorted(range(self.count), key=lambda number: sum(drawn[number].values()))
            for place, number in enumerate(order):
                (folder / f"{number}.drawn.nii.gz").rename(folder / f"{place}.nii.gz")
            volumes, unit = [drawn[number] for number in order], prediction.measure.unit
            table = _Table(volumes_ml=volumes, size_unit=unit, files=sealed(folder))
            (folder / _TABLE).write_bytes(with_digest(table.model_dump_json().encode()))
            _publish(folder, store, self.result, f"{self.seed}-{self.count}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found = stored_samples(store, self.result, self.seed, self.count)
        if found is None:
            raise StorageError("what was drawn does not come back from the disk of the cache: look at it")
        return found.model_dump()


class SamplesJob(Job):
    """Plausible segmentations, somebody waiting. Ends with a `wire.PlausibleLabels`."""

    kind = "samples"
    urgent = True

    def __init__(self, model: str, image: str | None, work: Draw) -> None:
        super().__init__(model, [Step(image, work)])
        self._work = work
        self._answer: dict[str, Any] = {}

    @property
    def same(self) -> tuple[str, str | None, str]:
        """The result, and which draws of it."""
        return (self.kind, self._work.result, f"{self._work.seed}-{self._work.count}")

    def accept(self, _step: Step, answer: dict[str, Any]) -> None:
        """Keep what was drawn."""
        self._answer = answer

    def result(self) -> dict[str, Any]:
        """Return a `wire.PlausibleLabels` as plain JSON."""
        return self._answer


def stored_samples(store: ResultStore, key: str, seed: int, count: int) -> wire.PlausibleLabels | None:
    """What was drawn of a result before, or None. Raises `NotFoundError` when `key` is no key at all."""
    name = f"{seed}-{count}"
    if (table := _whole(_folder(store, key) / name)) is None:
        return None
    return wire.PlausibleLabels(
        samples=[
            wire.PlausibleLabel(url=f"{ROUTE}/{key}/samples/{name}-{place}.nii.gz", seed=seed, volumes_ml=row)
            for place, row in enumerate(table.volumes_ml)
        ],
        size_unit=table.size_unit,
    )


def sample_path(store: ResultStore, key: str, name: str) -> Path:
    """Where one of them lies, by the name in its url: seed-count-place. Raises `NotFoundError` for any other."""
    known = _NAME.fullmatch(name)
    if known is None:
        raise NotFoundError("a plausible segmentation is named seed-count-place, as its url says")
    folder, file = _folder(store, key) / known[1], f"{known[4]}.nii.gz"
    if (table := _whole(folder)) is None or file not in table.files:
        raise NotFoundError(f"result {key} has no such segmentation (any more): draw them again")
    return folder / file


def samples_named(name: str) -> wire.SamplesRequest | None:
    """What to ask for to get the set that a name stands in; None where there can be no such segmentation."""
    known = _NAME.fullmatch(name)
    try:
        asked = wire.SamplesRequest(seed=int(known[2]), count=int(known[3])) if known else None
    except ValidationError:
        return None
    return asked if asked and int(known[4]) < asked.count else None


def _whole(folder: Path) -> _Table | None:
    """The table of a set of draws, marked as used; None where it is not there, or was damaged and is gone now."""
    try:
        table = _Table.model_validate_json(without_digest((folder / _TABLE).read_bytes()) or b"")
        if is_whole(folder, table.files):
            os.utime(folder)
            return table
    except FileNotFoundError:
        if not folder.is_dir() or (folder / _TABLE).exists():  # a folder appears with all that is in it
            return None
    except (OSError, ValidationError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _folder(store: ResultStore, key: str) -> Path:
    """Where the draws of a result lie, those of the same code: a result may be older than what draws from it."""
    return store.folder(key) / f"samples-{NUMBERS}"


def _publish(folder: Path, store: ResultStore, key: str, name: str) -> None:
    """Move a whole folder of draws to its result. Raises `NotFoundError` when that was removed meanwhile."""
    target = _folder(store, key)
    try:
        if not target.parent.is_dir():
            raise gone(key)
        target.mkdir(exist_ok=True)
        folder.rename(target / name)
        for old in sorted(target.iterdir(), key=lambda path: path.stat().st_mtime)[:-_SETS]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if not target.is_dir():
            raise gone(key) from error
        if not (target / name).exists():  # else another process was first
            raise
