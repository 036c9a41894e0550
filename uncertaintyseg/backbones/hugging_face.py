"""Classes of `transformers`, loaded without what fails beside a CPU torch (docs/adr/0022)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from uncertaintyseg.errors import InputError

_HIDDEN = "torchvision"


@contextmanager
def without_torchvision() -> Iterator[None]:
    """While `transformers` loads it finds no torchvision, unless somebody has loaded that already.

    It imports torchvision where it is installed, and one built for another torch, a frequent accident, fails on import.
    """
    if _HIDDEN in sys.modules:
        yield
        return
    sys.modules[_HIDDEN] = None  # Python then says that there is no such module
    try:
        _ask_again()
        yield
    finally:
        sys.modules.pop(_HIDDEN, None)
        _ask_again()


def _ask_again() -> None:
    """Have `transformers` look for torchvision anew: MONAI may have loaded it already, and the answer is kept."""
    asking = sys.modules.get("transformers.utils.import_utils")
    for name in ("is_torchvision_available", "is_torchvision_v2_available"):
        forget = getattr(getattr(asking, name, None), "cache_clear", None)
        if forget is not None:
            forget()


def transformers_class(name: str) -> Any:
    """A class of `transformers`.

    Raises:
        InputError: where that is not installed, or a version without it.
    """
    try:
        with without_torchvision():
            return getattr(importlib.import_module("transformers"), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            "networks of Hugging Face need the package transformers (Python 3.11 or later), which is missing here: "
            f"pip install 'uncertaintyseg[foundation]'. ({error})"
        ) from error
