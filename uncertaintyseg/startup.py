"""MONAI without what no program of ours uses of it: they start in half of the time.

MONAI imports whatever it finds of the packages that it may work with: experiment loggers, plots, tables. It takes each
for absent where it cannot be imported, so they are hidden while it is imported, and only then. A program that calls
`import_monai_lightly` gives MONAI's own features of them up (`MLFlowHandler`, the TensorBoard handlers, `CSVDataset`,
plots, notch filters, networks of language, downloads from Google Drive); a library that is imported must not do that to
others, so nothing here happens by itself.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

UNUSED = (
    "gdown",
    "matplotlib",
    "mlflow",
    "pandas",
    "scipy.signal",
    "sklearn",
    "tensorboard",
    "torch.utils.tensorboard",
    "transformers",
)
STOOD_IN_FOR = {"torch.distributed.optim": "ZeroRedundancyOptimizer"}
"""What Ignite cannot do without, and the one class that it wants of it: to ask whether an optimizer is of it. Behind
it come all of torch's distributed training and a computer algebra system, a fifth of a start."""


def import_monai_lightly() -> None:
    """From now on, have `import monai` find none of `UNUSED`. Does nothing where MONAI is imported already."""
    if "monai" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds MONAI, once."""

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname != "monai":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads a package while others are hidden."""

    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__.loader = module.__loader__ = self._real
        with _hidden(UNUSED):
            self._real.exec_module(module)


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    away = {name: None for name in names if name not in sys.modules}  # Python then says that there is no such module
    away |= {name: _with(name, kind) for name, kind in STOOD_IN_FOR.items() if name not in sys.modules}
    sys.modules.update(away)
    try:
        yield
    finally:
        for name in away:
            del sys.modules[name]


def _with(name: str, kind: str) -> ModuleType:
    """A module that holds a class of which nothing is."""
    module = ModuleType(name)
    setattr(module, kind, type(kind, (), {}))
    return module
