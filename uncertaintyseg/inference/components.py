"""Where MONAI keeps what a configuration names shortly, such as "Compose"."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache

from monai.bundle import ComponentLocator, ConfigParser


class Locator(ComponentLocator):
    """MONAI's, which looks through all that is imported of MONAI: once, not anew for every configuration."""

    def _find_module_names(self) -> list[str]:
        return [name for name in sys.modules if name.startswith(self.MOD_START)]  # a Locator excludes nothing

    def _find_classes_or_functions(self, modnames: Sequence[str] | str) -> dict[str, list]:
        return _found((modnames,) if isinstance(modnames, str) else tuple(modnames))


def config_parser() -> ConfigParser:
    """MONAI's parser, with the locator above."""
    parser = ConfigParser()
    parser.locator = Locator()
    return parser


@lru_cache(maxsize=1)  # of the modules that are there: with another one it is looked anew
def _found(modules: tuple[str, ...]) -> dict[str, list]:
    return ComponentLocator()._find_classes_or_functions(modules)  # noqa: SLF001 - there is no other way to it
