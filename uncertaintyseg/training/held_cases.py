"""Preprocessed cases, made by threads: in memory, on disk, or anew each time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from monai.data import CacheDataset, Dataset
from monai.transforms import Compose, convert_to_contiguous

from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.training.case_store import CaseStore
from uncertaintyseg.training.patches import StructureVoxels


@contextmanager
def unwrapped() -> Iterator[None]:
    """Lets an error of ours out of what MONAI wraps around it."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UncertaintySegError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None


class CasesInMemory(CacheDataset):
    """All cases, read and preprocessed once.

    MONAI's own pool leaves its threads to themselves when a case cannot be used; one that is in native code while the
    program ends takes it down with a signal.
    """

    def _fill_cache(self, indices: Iterable[int] | None = None) -> list[dict[str, Any]]:
        indices = range(self.cache_num) if indices is None else list(indices)
        if not indices:
            return []
        with ThreadPoolExecutor(self.num_workers or os.cpu_count()) as pool, unwrapped():
            return list(pool.map(self._load_cache_item, indices))


class CasesAnew(Dataset):
    """Each case is read and preprocessed whenever it is asked for, by any thread."""

    def _transform(self, index: int) -> dict[str, Any]:
        with unwrapped():
            return _made(self.data[index], self.transform)


class CasesOnDisk(Dataset):
    """Cases in a store; one that is missing there is made when it is asked for.

    Args:
        items: what `transform` takes.
        transform: the preprocessing.
        store: where they are kept.
        keys: of the items' entries.
        patches: as of `CaseStore.read`.
    """

    def __init__(
        self, items: Sequence[dict], transform: Compose, store: CaseStore, keys: Sequence[str], *, patches: bool
    ) -> None:
        super().__init__(items, Compose([*transform.transforms, StructureVoxels()]))
        self.store, self.keys, self.patches = store, keys, patches

    def fill(self, workers: int, tell: Callable[[int], None]) -> None:
        """Make all that is missing or damaged.

        Args:
            workers: threads.
            tell: called with the number of cases that are there.

        Raises:
            InputError: for a case that cannot be used, or a disk that is full.
        """

        def ensure(index: int) -> None:
            if not self.store.check(self.keys[index]):
                self._make(index)

        with ThreadPoolExecutor(workers) as pool:
            for count, _ in enumerate(pool.map(ensure, range(len(self))), start=1):
                tell(count)

    def _transform(self, index: int) -> dict[str, Any]:
        key = self.keys[index]
        found = self.store.read(key, patches=self.patches)
        if found is None:  # deleted or damaged since the fit began
            made = self._make(index)
            found = self.store.read(key, patches=self.patches) or made
        return found

    def _make(self, index: int) -> dict[str, Any]:
        with unwrapped():
            made = _made(self.data[index], self.transform)
        self.store.keep(self.keys[index], made)
        return made


def _made(item: dict, transform: Compose) -> dict[str, Any]:
    """As `CacheDataset` has it."""
    return convert_to_contiguous(transform(deepcopy(item), threading=True))
