"""Results on disk: one folder a key, complete or absent, the least recently used going first."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import nibabel as nib
import numpy as np
from pydantic import BaseModel, Field, ValidationError

from monailabel_app.errors import NotFoundError
from monailabel_app.jobs.maps import INDEX, encoded_map, read_maps, write_maps
from monailabel_app.jobs.seal import Seal, is_whole, seal_of, sealed, with_digest, without_digest
from uncertaintyseg import wire
from uncertaintyseg.data.time_axis import TIME, Measure
from uncertaintyseg.data.writing import encode_map, write_volume
from uncertaintyseg.errors import StorageError
from uncertaintyseg.review.calibration import MEASURE
from uncertaintyseg.review.order import worst_first

if TYPE_CHECKING:
    from uncertaintyseg.inference.predictor import Prediction

logger = logging.getLogger(__name__)

ROUTE = "/uncertainty/v1/results"
_STATE = "state"
_REPORT = "report.json"
_STATE_FILES = ("features.npy", "region.npy", "affine.npy")
_SEPARATORS = {"/", "\\", "\0"}
_KEY = re.compile(r"[0-9a-f]{64}")
_ABANDONED_SECONDS = 3600.0
_OFTEN = 0.02
"""Share of the limit by which encoded maps may grow before the store is looked through."""
_NO_VARIANCE = "carried up to 16 classes, or for structures named in the request"
_NOT_NAMED = "carried for the structures named in the request"
_UNCALIBRATED = "this model has no calibration yet"


class Report(BaseModel):
    """What a result says of itself; the volumes lie beside it."""

    risk: wire.Risk
    labels: list[wire.Label]
    case_score: float
    case_scores: dict[str, float] = Field(default_factory=dict)
    features: list[float] = Field(default_factory=list)
    affine: list[list[float]]
    bits: Literal[16] = Field(description="Of a voxel of its maps; a result of old that has none is made again.")
    files: Seal = Field(description="What lies beside it; where that is not so any more the result is made again.")


class ResultStore:
    """Results by key. The worker puts them, the server reads and evicts them; both through the file system.

    Args:
        root: Folder of the store; made when missing.
        limit_bytes: `evict` removes the least recently used results beyond this size.
    """

    def __init__(self, root: Path, limit_bytes: int = 10 * 1024**3) -> None:
        self.root = root
        self._limit_bytes = limit_bytes
        self._evicting = threading.Lock()
        self._grown = 0  # bytes of encoded maps since the last eviction
        root.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, prediction: Prediction, labels: list[wire.Label], *, compact: bool = False) -> None:
        """Store a prediction: nobody ever sees a part of it.

        Args:
            key: of the result.
            prediction: what is stored; maps that it names without having them stay those of another result.
            labels: the structures.
            compact: keep the maps only as they are sent, for results that nothing is computed from.
        """
        with self._new(key) as folder:
            write_volume(folder / "label.nii.gz", prediction.label, prediction.affine, about=prediction.measure.about)
            (folder / "maps").mkdir()
            for name, values in prediction.maps.items() if compact else ():
                limits = prediction.map_info[name].range
                data = encode_map(values, prediction.affine, limits, upward=name == MEASURE)
                (folder / "maps" / f"{name}.nii.gz").write_bytes(data)
            if not compact:
                write_maps(folder / "maps", prediction)
            if prediction.state is not None:
                prediction.state.save(folder / _STATE)
            report = _report(key, prediction, labels, sealed(folder))
            (folder / _REPORT).write_bytes(with_digest(report.model_dump_json().encode()))

    def files(self, key: str) -> dict[str, bytes]:
        """All files of a result by their path in its folder, for a store elsewhere: see `put_files`.

        Raises:
            NotFoundError: The result is not here.
        """
        names = [_REPORT, *self.existing(key).files]
        return {name: (self.folder(key) / name).read_bytes() for name in names}

    def put_files(self, key: str, files: Mapping[str, bytes], is_right: Callable[[Report], bool]) -> None:
        """Store a result that another store's `files` gave: whole, or not at all.

        They come from elsewhere, so nothing is taken from them but what a result consists of and its report names.

        Args:
            key: of the result.
            files: by their path in its folder.
            is_right: whether a report is that of what was asked for.

        Raises:
            StorageError: They are not the files of this result, or larger than the whole store may be.
        """
        if not is_right(_checked_files(key, files, self._limit_bytes)):
            raise _wrong_files(key)
        with self._new(key) as folder:
            for name, data in files.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(data)

    @contextlib.contextmanager
    def _new(self, key: str) -> Iterator[Path]:
        """A folder that becomes that of a result at the end, with all that is in it."""
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            yield folder
            folder.rename(self.folder(key))
        except OSError:
            if not self.folder(key).exists():  # else another process stored the same result first
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def report(self, key: str) -> Report | None:
        """Return what is known of a result and mark it as used, or None when it is not here.

        One of whose files any is missing or damaged goes: it is computed again when asked for, and never served.

        Raises:
            NotFoundError: `key` is no key at all.
        """
        folder = self.folder(key)
        try:
            report = Report.model_validate_json(without_digest((folder / _REPORT).read_bytes()) or b"")
            if is_whole(folder, report.files):
                os.utime(folder)
                return report
        except FileNotFoundError:
            if not folder.is_dir() or (folder / _REPORT).exists():  # a folder appears with all that is in it
                return None
        except (OSError, ValidationError):
            pass
        logger.warning("result %s is damaged and goes; it is computed again when asked for", key)
        self._remove(folder)
        return None

    def existing(self, key: str) -> Report:
        """Return what is known of a result. Raises `NotFoundError` when it is not here."""
        report = self.report(key)
        if report is None:
            raise gone(key)
        return report

    def made(self, key: str) -> int:
        """Tell a result from one that was made anew under the same key. Raises `NotFoundError` when it is gone."""
        try:
            return (self.folder(key) / _REPORT).stat().st_mtime_ns
        except FileNotFoundError as error:
            raise gone(key) from error

    def label_path(self, key: str) -> Path:
        """Where the label of a result lies, as NIfTI. Raises `NotFoundError` when the result is gone."""
        self.existing(key)
        return self.folder(key) / "label.nii.gz"

    def label_bytes(self, key: str) -> bytes:
        """Return the label of a result as NIfTI. Raises `NotFoundError` when the result is gone."""
        try:
            return self.label_path(key).read_bytes()
        except FileNotFoundError as error:  # evicted under us
            raise gone(key) from error

    def state_folder(self, key: str) -> Path | None:
        """Where `InferenceState.save` left the state of a result; None when it has none or is gone.

        Raises:
            NotFoundError: `key` is no key at all.
        """
        folder = self.folder(key) / _STATE
        return folder if folder.is_dir() else None

    def shape(self, key: str) -> tuple[int, ...]:
        """Voxels of a result's grid along each axis. Raises `NotFoundError` when the result is gone."""
        return nib.load(self.label_path(key)).shape

    def prediction(self, key: str) -> tuple[Prediction, list[wire.Label]]:
        """Return a result as `put` took it, its maps and state still on disk, and the structures.

        Raises:
            NotFoundError: The result is gone.
        """
        from uncertaintyseg.inference.prediction import Prediction  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.inference.state import InferenceState  # noqa: PLC0415

        report = self.existing(key)
        try:
            label = np.ascontiguousarray(nib.load(self.label_path(key)).dataobj)
            maps, state = read_maps(self.folder(key) / "maps", report.risk.maps), self.state_folder(key)
            kept = None if state is None else InferenceState.load(state)
        except FileNotFoundError as error:  # evicted under us
            raise gone(key) from error
        risk = report.risk
        known = risk.size_unit != "px"
        sizes = Measure.on(report.affine, label.shape[-1], clip=risk.axis == TIME, known=known)
        found = Prediction(
            label, np.array(report.affine), maps, risk.maps, risk.structures, risk.provenance, report.case_score, kept
        )
        more = {"regions": risk.regions, "case_scores": report.case_scores, "driven_by": risk.driven_by,
                 "threshold": risk.threshold, "sizes": sizes}  # fmt: skip
        return replace(found, **more), report.labels

    def map_bytes(self, key: str, name: str) -> bytes:
        """Return one map as compressed NIfTI; it is encoded when first asked for.

        Raises:
            NotFoundError: The result is gone or has no such map.
        """
        report = self.existing(key)
        if name not in report.risk.maps:
            raise NotFoundError(f"no map {name!r} in this result; it has {', '.join(report.risk.maps)}")
        folder = self.folder(key) / "maps"
        sent = folder / f"{name}.sent"
        try:
            if f"maps/{name}.nii.gz" in report.files:
                return (folder / f"{name}.nii.gz").read_bytes()
            if sent.is_file() and (data := without_digest(sent.read_bytes())) is not None:
                return data
            data = encoded_map(folder, name, np.array(report.affine))
            temporary = folder / f".{name}.{uuid.uuid4().hex}.tmp"
            temporary.write_bytes(with_digest(data))
            temporary.replace(sent)
        except FileNotFoundError as error:  # evicted under us
            raise gone(key) from error
        self._grown += len(data)
        if self._grown > self._limit_bytes * _OFTEN:
            self.evict(keep=key)
        return data

    def evict(self, keep: str) -> None:
        """Remove the least recently used results beyond the limit, never `keep`, and what a killed worker left.

        All that lies in their folders counts: maps as they are sent, and drawn shapes.
        """
        with self._evicting:
            now = time.time()
            for entry in self.root.glob(".*"):
                if now - _modified(entry) > _ABANDONED_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)
            folders = [folder for folder in self.root.iterdir() if _KEY.fullmatch(folder.name)]
            folders.sort(key=_modified, reverse=True)
            total = 0
            for folder in folders:
                total += sum(map(_size, folder.rglob("*")))
                if total > self._limit_bytes and folder.name != keep:
                    self._remove(folder)
            self._grown = 0

    def _remove(self, folder: Path) -> None:
        """Take a result away at once and whole; what another thread took before us is gone as well."""
        with contextlib.suppress(FileNotFoundError):
            trash = folder.rename(self.root / f".old-{uuid.uuid4().hex}")
            shutil.rmtree(trash, ignore_errors=True)

    def folder(self, key: str) -> Path:
        """Where a result lies, if it is here. Raises `NotFoundError` when `key` is no key at all."""
        return self.root / checked(key)


def infer_result(report: Report) -> wire.InferResult:
    """What an inference is answered with."""
    label = f"{ROUTE}/{report.risk.result}/label.nii.gz"
    names = {item.name: item.id for item in report.labels}
    return wire.InferResult(risk=report.risk, label=label, label_names=names, labels=report.labels)


def _report(key: str, prediction: Prediction, labels: list[wire.Label], files: Seal) -> Report:
    own = {name: {"url": f"{ROUTE}/{key}/maps/{quote(name)}.nii.gz"} for name in prediction.maps}
    maps = {name: info.model_copy(update=own.get(name)) for name, info in prediction.map_info.items()}
    risk = wire.Risk(
        result=key,
        size_unit=prediction.measure.unit,
        axis=prediction.axis,
        spacing_mm=prediction.spacing_mm,
        maps=maps,
        structures=worst_first(prediction.structures),
        regions=worst_first(prediction.regions),
        omitted=_omitted(maps, labels),
        remaining_error_ml=prediction.remaining_error_ml,
        risk_coverage=prediction.risk_coverage,
        driven_by=prediction.driven_by,
        guarantee=prediction.guarantee,
        guarantee_reason=prediction.guarantee_reason or (None if prediction.guarantee else _UNCALIBRATED),
        threshold=prediction.threshold,
        frames=prediction.frames,
        provenance=prediction.provenance,
    )
    return Report(
        risk=risk,
        labels=labels,
        case_score=prediction.case_score,
        case_scores=prediction.case_scores,
        features=prediction.features.tolist(),
        affine=np.asarray(prediction.affine, dtype=float).tolist(),
        bits=16,
        files=files,
    )


def _checked_files(key: str, files: Mapping[str, bytes], limit: int) -> Report:
    """The report among files that came from elsewhere. Raises `StorageError` where they are not those of a result."""
    wrong = _wrong_files(checked(key))
    if not all(isinstance(name, str) and isinstance(data, bytes) for name, data in files.items()):
        raise wrong
    if sum(map(len, files.values())) > limit:
        raise StorageError(f"result {key} is larger than the cache may be: give it more room, or fewer maps")
    try:
        report = Report.model_validate_json(without_digest(files[_REPORT]) or b"")
    except (KeyError, ValidationError) as error:
        raise wrong from error
    may_be = {"label.nii.gz", f"maps/{INDEX}", *(f"{_STATE}/{name}" for name in _STATE_FILES)}
    may_be |= {f"maps/{name}.npy" for name in report.risk.maps if not _SEPARATORS & set(name)}
    seal = {name: seal_of(data) for name, data in files.items() if name != _REPORT}
    if report.risk.result != key or seal != report.files or not seal.keys() <= may_be:
        raise wrong
    return report


def _wrong_files(key: str) -> StorageError:
    return StorageError(f"what came as result {key} is not that result")


def _omitted(maps: Mapping[str, wire.MapInfo], labels: Sequence[wire.Label]) -> dict[str, str]:
    """Maps of structures that the network could give and this result does not carry, and why."""
    named = [item.name for item in labels if f"probability_{item.name}" in maps]
    left_out = [name for name in named if f"variance_{name}" not in maps]
    reasons = {"variance_<structure>": _NO_VARIANCE} if left_out else {}
    return reasons | ({"probability_<structure>": _NOT_NAMED} if 0 < len(named) < len(labels) else {})


def checked(key: str) -> str:
    """A key that may be the name of a file. Raises `NotFoundError` when it is no key at all."""
    if not _KEY.fullmatch(key):
        raise NotFoundError("a result key is 64 hexadecimal digits")
    return key


def gone(key: str) -> NotFoundError:
    """What to raise for a result that is not in the store."""
    return NotFoundError(f"result {key} is not here (any more): infer the image again")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # just gone
        return 0


def _modified(path: Path) -> float:
    """When it was last used; now, where it has just gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
