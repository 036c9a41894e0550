"""What lies in an nnU-Net trained-model folder, or a zip of it: dataset.json, plans.json and a checkpoint a fold."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from uncertaintyseg.errors import BundleError

_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_DESCRIPTIONS = ("dataset.json", "plans.json")
_FOLD = re.compile(r"fold_(all|\d+)")
_WANTED = "a trained-model folder of nnU-Net v2 (TRAINER__PLANS__CONFIG) has dataset.json, plans.json and fold_0"


@dataclass(frozen=True)
class TrainedFolder:
    """An nnU-Net training, as files.

    Attributes:
        name: of the folder, for people.
        dataset: its dataset.json.
        plans: its plans.json.
        checkpoints: the file of each fold, by name ("0", ..., "all").
    """

    name: str
    dataset: Mapping[str, Any]
    plans: Mapping[str, Any]
    checkpoints: Mapping[str, Path]

    def chosen(self, folds: str | None) -> dict[str, Path]:
        """The checkpoints of some folds: "0,1", or all of them.

        By default, and with "all", the cross-validation's folds, or `fold_all` where it is the only one: it is trained
        on all cases and stands alone.

        Raises:
            BundleError: for a fold that is not there.
        """
        numbered = {fold: path for fold, path in sorted(self.checkpoints.items()) if fold != "all"}
        if folds in (None, "all"):
            return numbered or dict(self.checkpoints)
        wanted = [fold.strip() for fold in folds.split(",")]
        missing = [fold for fold in wanted if fold not in self.checkpoints]
        if missing:
            there = ", ".join(sorted(self.checkpoints))
            raise BundleError(f"{self.name} has no checkpoint of fold {missing[0]}; there are {there}.")
        return {fold: self.checkpoints[fold] for fold in wanted}


def recognises(given: Path) -> bool:
    """Whether it looks like an nnU-Net training, if perhaps a broken one."""
    if given.is_dir():
        return _looks_trained(given) or bool(_trainings(given))
    if given.suffix.lower() == ".zip" and zipfile.is_zipfile(given):
        with zipfile.ZipFile(given) as archive:
            return any(PurePosixPath(name).name == "plans.json" for name in archive.namelist())
    return False


@contextmanager
def opened(given: Path) -> Iterator[TrainedFolder]:
    """The training in a folder or a zip; files of a zip are there as long as the context.

    Raises:
        BundleError: when something is missing or cannot be read.
    """
    if given.is_dir():
        yield _read(_only_training(given))
        return
    with TemporaryDirectory() as scratch:
        yield _read(_unpacked(given, Path(scratch)))


def _looks_trained(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _DESCRIPTIONS) and (
        (folder / "plans.json").is_file() or any(_FOLD.fullmatch(path.name) for path in folder.iterdir())
    )


def _trainings(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _looks_trained(path))


def _only_training(folder: Path) -> Path:
    """The folder itself, or the only training in the folder of a data set."""
    if _looks_trained(folder):
        return folder
    found = _trainings(folder)
    if len(found) > 1:
        raise BundleError(f"{folder} has several trainings; give one of {', '.join(path.name for path in found)}.")
    return found[0]


def _read(folder: Path) -> TrainedFolder:
    dataset, plans = (_json(folder / name) for name in _DESCRIPTIONS)
    checkpoints = {}
    for path in folder.iterdir():
        match = _FOLD.fullmatch(path.name)
        files = [path / name for name in _CHECKPOINTS if (path / name).is_file()]
        if match and files:
            checkpoints[match[1]] = files[0]
    if not checkpoints:
        raise BundleError(f"{folder} has no fold_*/{_CHECKPOINTS[0]}: the training is not finished, or was not copied.")
    parent = f"{folder.parent.name}/" if folder.parent.name.startswith("Dataset") else ""
    return TrainedFolder(f"{parent}{folder.name}", dataset, plans, checkpoints)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise BundleError(f"{path.parent} has no {path.name}: {_WANTED}.") from None
    except ValueError as error:
        raise BundleError(f"{path} is not valid JSON ({error}): copy it again.") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} holds a {type(found).__name__}; nnU-Net writes an object there.")
    return found


def _unpacked(given: Path, scratch: Path) -> Path:
    """The files of the only training in a zip, under names of ours: what else is in it stays there."""
    wanted: dict[PurePosixPath, dict[str, zipfile.ZipInfo]] = {}
    try:
        with zipfile.ZipFile(given) as archive:
            for member in archive.infolist():
                path = PurePosixPath(member.filename)
                if path.name in _DESCRIPTIONS:
                    wanted.setdefault(path.parent, {})[path.name] = member
                elif path.name in _CHECKPOINTS and _FOLD.fullmatch(path.parent.name):
                    wanted.setdefault(path.parent.parent, {})[f"{path.parent.name}/{path.name}"] = member
            trainings = sorted(folder for folder, files in wanted.items() if "plans.json" in files)
            if len(trainings) != 1:
                names = ", ".join(map(str, trainings)) or "none"
                raise BundleError(f"{given} has {len(trainings)} trainings ({names}): unpack it and give one folder.")
            folder = scratch / _folder_name(trainings[0], given)
            for name, member in wanted[trainings[0]].items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, (folder / name).open("wb") as target:
                    while block := source.read(1 << 20):
                        target.write(block)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"{given} is a damaged zip, or has a password ({error}): copy or pack it again.") from error
    return folder


def _folder_name(training: PurePosixPath, given: Path) -> Path:
    """Data set and training as the zip has them, so that the model is named alike."""
    parts = [part for part in training.parts[-2:] if re.fullmatch(r"\w[\w.+-]*", part)]
    return Path(*parts) if parts else Path(given.stem)
