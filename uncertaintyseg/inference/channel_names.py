"""What the channels of a model's scans are called: the one place that knows where a bundle says so."""

from __future__ import annotations

import json
from pathlib import Path

from uncertaintyseg.errors import BundleError

UNNAMED = "image"
"""The only channel, where nobody has named it."""


def channel_names(path: Path) -> list[str]:
    """The names under "channels" in a bundle's inference.json, in the order in which the network takes them.

    The file is read as it stands, without MONAI, which takes seconds to load: a list of models asks for all of them.

    Raises:
        BundleError: when the file is missing or no JSON, or the names are none, or not different from one another.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise BundleError(f"{path.parents[1]} has no {path.parent.name}/{path.name}.") from None
    except ValueError as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    names = config.get("channels") if isinstance(config, dict) else None
    if names is None:
        return [UNNAMED]
    is_list = isinstance(names, list) and names and all(isinstance(name, str) and name.strip() for name in names)
    if not is_list or len({name.casefold() for name in names}) < len(names):
        raise BundleError(f"{path}: 'channels' lists the names of a scan's channels, each another: ['T1', 'FLAIR'].")
    return names
