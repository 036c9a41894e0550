"""Models by name, and tasks made from them: a bundle that comes or changes while the server runs is seen at once."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from pathlib import Path
from typing import TypeVar

from uncertaintyseg import wire
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import (
    CALIBRATION,
    INFERENCE,
    METADATA,
    SHIFT,
    TRAINING,
    WEIGHTS,
    Bundle,
    find_bundles,
    model_folders,
)
from uncertaintyseg.inference.offered import offered_methods, origin_of, run_options
from uncertaintyseg.review.calibration import MEASURE
from uncertaintyseg.training.versions import list_versions

logger = logging.getLogger(__name__)

_PER_STRUCTURE = ("probability", "variance")
_FILES = (METADATA, INFERENCE, TRAINING, WEIGHTS, CALIBRATION, SHIFT)
_Stamp = tuple[tuple[int, int] | None, ...]
T = TypeVar("T")


class _Seen(Mapping[str, T], ABC):
    """A mapping that looks at the disk whenever it is asked, once a question."""

    @abstractmethod
    def seen(self) -> dict[str, T]:
        """What there is now."""

    def __getitem__(self, name: str) -> T:
        return self.seen()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.seen())

    def __len__(self) -> int:
        return len(self.seen())

    def values(self) -> ValuesView[T]:
        """Of one look."""
        return self.seen().values()

    def items(self) -> ItemsView[str, T]:
        """Of one look."""
        return self.seen().items()


class Models(_Seen[Bundle]):
    """The shipped bundles, the user's own and those of further folders; a later folder wins.

    Args:
        folders: of bundles. They must be there, and every bundle in them sound.
        home: where trained versions are published; it wins, and may be missing until then.

    Raises:
        BundleError: A folder is missing, a bundle is damaged or there is none at all.
    """

    def __init__(self, folders: Sequence[Path], home: Path) -> None:
        self.home = home
        self._given = list(folders)
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[_Stamp, Bundle | None]] = {}
        if not find_bundles(*self.folders):
            raise BundleError("no model found: give a folder of bundles with --models DIR (or --conf models DIR)")

    @property
    def folders(self) -> list[Path]:
        """The folders beside the shipped models and the user's own, the one that wins last."""
        return [*self._given, *([self.home] if self.home.is_dir() and self.home not in self._given else [])]

    def __getitem__(self, name: str) -> Bundle:
        with self._lock:
            for folder in reversed(model_folders(*self.folders)):
                is_name = (folder / name).name == name and not name.startswith(".")
                if is_name and (bundle := self._current(folder / name)) is not None:
                    return bundle
        raise KeyError(name)

    def seen(self) -> dict[str, Bundle]:
        """All of them after one look at the folders."""
        with self._lock:
            found = {}
            for folder in model_folders(*self.folders):
                for metadata in sorted(folder.glob(f"*/{METADATA}")):
                    bundle = self._current(metadata.parents[1])
                    if bundle is not None:
                        found[bundle.name] = bundle
            return found

    def _current(self, folder: Path) -> Bundle | None:
        stamp = tuple(_stamp(folder / name) for name in _FILES)
        if stamp[0] is None:
            return None
        known, bundle = self._known.get(folder, (None, None))
        if known != stamp:
            try:
                bundle = Bundle.load(folder)
                logger.info("%s: weights %s", folder, bundle.checksum or "none")  # read now: the file may change
            except BundleError as error:  # the server goes on with what it had
                logger.warning("%s", error)
            if bundle is not None and not bundle.labels:  # of no name that a client could draw
                logger.info("%s: not served, for it names no structure: import it with --labels or --examples", folder)
                bundle = None
            self._known[folder] = stamp, bundle
        return bundle


class Tasks(_Seen[T]):
    """A task for each model, made anew when its bundle has changed.

    Args:
        models: by name.
        make: makes one, or None for a model that has no such task.
    """

    def __init__(self, models: Models, make: Callable[[Bundle], T | None]) -> None:
        self._models, self._make = models, make
        self._lock = threading.Lock()
        self._made: dict[str, tuple[Bundle, T | None]] = {}

    def __getitem__(self, name: str) -> T:
        bundle = self._models[name]
        with self._lock:
            self._made[name] = self._task(name, bundle)
            task = self._made[name][1]
        if task is None:
            raise KeyError(name)
        return task

    def seen(self) -> dict[str, T]:
        """All of them after one look at the folders."""
        with self._lock:
            self._made = {name: self._task(name, bundle) for name, bundle in self._models.seen().items()}
            return {name: task for name, (_, task) in self._made.items() if task is not None}

    def _task(self, name: str, bundle: Bundle) -> tuple[Bundle, T | None]:
        known, task = self._made.get(name, (None, None))
        return (bundle, task) if known is bundle else (bundle, self._make(bundle))


def describe(bundle: Bundle, others: Iterable[Bundle] = ()) -> wire.Model:
    """What is known of a model, and what may be chosen for a run of it; `others` may be in an ensemble with it."""
    versions = list_versions(bundle)
    calibration, reason = bundle.calibration
    return wire.Model(
        name=bundle.name,
        description=bundle.description,
        task=bundle.task,
        head=bundle.head,
        dimensions=bundle.uncertainty.dimensions,
        modality=bundle.modality,
        checksum=bundle.checksum,
        examples=bundle.examples,
        labels=bundle.labels,
        channels=bundle.channels,
        maps=_patterns(bundle),
        trainable=is_trainable(bundle),
        version=next((v.number for v in versions if v.checksum == bundle.checksum), None),
        versions=versions,
        calibrated=calibration is not None,
        calibration=f"{calibration.n} cases: {calibration.data}" if calibration else reason,
        driven_by=calibration.measure if calibration else MEASURE,
        label_shift=bundle.label_shift,
        origin=origin_of(bundle),
        methods=offered_methods(bundle, others),
        run_options=run_options(bundle, others),
    )


def _patterns(bundle: Bundle) -> list[str]:
    """Names of its maps; `probability_*` stands for one map for each structure, of which there may be hundreds."""
    of_structures = {f"{kind}_{label.name}": f"{kind}_*" for kind in _PER_STRUCTURE for label in bundle.labels}
    return list(dict.fromkeys(of_structures.get(name, name) for name in bundle.maps))


def is_trainable(bundle: Bundle) -> bool:
    """Whether a bundle says how it is trained; an imported network says only how heads on it are."""
    return (bundle.folder / TRAINING).is_file() and not bundle.imported


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return stat.st_mtime_ns, stat.st_ino
