"""Versions of a model's weights: a new one is published whole or not at all, and every older one can come back.

`<models>/<name>/` is the model in use. `<models>/<name>/versions/<n>/` keeps one version: `record.json`, and under
`<name>/` a model folder like any other. Which version is in use follows from the checksum of the weights in use, so
the one step that switches is the replacement of that file.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from filelock import FileLock

from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import CALIBRATION, METADATA, SHIFT, WEIGHTS, Bundle
from uncertaintyseg.wire import MEASURE, ModelVersion

VERSIONS = Path("versions")
RECORD = "record.json"
_STAGING = ".staging"
_LOCK = ".versions.lock"
_OF_WEIGHTS = (CALIBRATION, SHIFT)
_NOT_COPIED = shutil.ignore_patterns(str(VERSIONS), "training")


def publish(candidate: Bundle, models: str | os.PathLike[str], record: ModelVersion, *, replaces: Bundle) -> Bundle:
    """Put new weights into use, and keep those they replace.

    A kill at any moment leaves the old weights in use or the new ones. A calibration belongs to the weights it was made
    with: it goes with them.

    Args:
        candidate: a trained bundle with the name of the one it replaces, e.g. of `training.fit`.
        models: folder of models to publish in; a model that lies elsewhere, such as a shipped one, is copied there.
        record: what is known of the new weights; number, checksum and date are filled in here.
        replaces: the bundle in use.

    Returns:
        The bundle in use from now on, `models / candidate.name`.

    Raises:
        BundleError: for another name, or a candidate without weights.
        InputError: when the folder cannot be written.
    """
    if candidate.name != replaces.name or not candidate.checksum:
        raise BundleError(f"{candidate.folder} holds no new weights of {replaces.name}.")
    models = Path(models).resolve()
    try:
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / _LOCK):
            target = _copied(replaces, models)
            _keep(target, target, ModelVersion(origin="before training"))
            number = _keep(target, candidate, record)
            return _switch(target, number)
    except OSError as error:
        raise InputError(f"{models}: cannot be written ({error.strerror}); nothing was published.") from error


def restore(bundle: Bundle, number: int) -> Bundle:
    """Put an older version, or the newest again, into use.

    Returns:
        The bundle with these weights.

    Raises:
        InputError: when there is no such version, or the folder cannot be written.
    """
    found = [version.number for version in list_versions(bundle)]
    if number not in found:
        known = ", ".join(map(str, found)) or "none: it was never trained here"
        raise InputError(f"{bundle.name} has no version {number}; there are {known}.")
    try:
        with FileLock(bundle.folder.parent / _LOCK):
            return _switch(Bundle.load(bundle.folder), number)
    except OSError as error:
        raise InputError(f"{bundle.folder}: cannot be written ({error.strerror}).") from error


def list_versions(bundle: Bundle) -> list[ModelVersion]:
    """The versions of a model, oldest first; empty where nothing was ever published."""
    records = (bundle.folder / VERSIONS).glob(f"[0-9]*/{RECORD}")
    found = [ModelVersion.model_validate_json(path.read_bytes()) for path in records]
    return sorted(found, key=lambda version: version.number)


def last_driver(bundle: Bundle) -> str:
    """The map that drives the calibration in use, or that drove the newest version's which had one."""
    older = (Bundle.load(_folder(bundle, v.number) / bundle.name) for v in reversed(list_versions(bundle)))
    for model in chain([bundle], older):
        found, _ = model.calibration
        if found is not None:
            return found.measure
    return MEASURE


def bundle_with(folder: Path, checksum: str) -> Bundle:
    """The model with these weights, in use or not.

    Raises:
        BundleError: when the folder is no bundle, or no version of it has the checksum.
    """
    bundle = Bundle.load(folder)
    if bundle.checksum == checksum:
        return bundle
    for version in list_versions(bundle):
        if version.checksum == checksum:
            return Bundle.load(_folder(bundle, version.number) / bundle.name)
    raise BundleError(f"{folder}: its weights were replaced meanwhile and not kept. Ask again to use the new ones.")


def installed(bundle: Bundle, models: str | os.PathLike[str]) -> Bundle:
    """The bundle in a folder of models; copied there if need be, all or nothing.

    Raises:
        InputError: when the folder cannot be written.
    """
    models = Path(models).resolve()
    try:
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / _LOCK):
            return _copied(bundle, models)
    except OSError as error:
        raise InputError(f"{models}: cannot be written ({error.strerror}).") from error


def _copied(bundle: Bundle, models: Path) -> Bundle:
    target = models / bundle.name
    if not (target / METADATA).is_file():
        staged = models / _STAGING / bundle.name
        _copy(bundle.folder, staged)
        staged.rename(target)
    return Bundle.load(target)


def _keep(target: Bundle, source: Bundle, record: ModelVersion) -> int:
    """Make the weights of a bundle a version of another; returns its number."""
    known = list_versions(target)
    for version in known:
        if version.checksum == source.checksum:
            return version.number
    number = known[-1].number + 1 if known else 1
    created = record.created or datetime.now(UTC).isoformat(timespec="seconds")
    record = record.model_copy(update={"number": number, "checksum": source.checksum, "created": created})
    staged = target.folder / VERSIONS / _STAGING
    _copy(source.folder, staged / target.name)
    write_bytes(staged / RECORD, record.model_dump_json(indent=2).encode())
    staged.rename(_folder(target, number))
    return number


def _switch(target: Bundle, number: int) -> Bundle:
    """Put a version into use, with the calibration and the label shift that belong to it."""
    replaced = [version for version in list_versions(target) if version.checksum == target.checksum]
    for version in replaced:
        _take_along(target.folder, _folder(target, version.number) / target.name)
    version = _folder(target, number) / target.name
    write_bytes(target.folder / WEIGHTS, (version / WEIGHTS).read_bytes())
    _take_along(version, target.folder)
    for name in _OF_WEIGHTS:
        if not (version / name).is_file():
            (target.folder / name).unlink(missing_ok=True)
    return Bundle.load(target.folder)


def _take_along(source: Path, target: Path) -> None:
    for name in _OF_WEIGHTS:
        if (source / name).is_file():
            write_bytes(target / name, (source / name).read_bytes())


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)  # of a publication that was killed
    shutil.copytree(source, target, ignore=_NOT_COPIED)
    for path in target.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _folder(bundle: Bundle, number: int) -> Path:
    return bundle.folder / VERSIONS / str(number)
