"""The user's own models: renamed and removed, never those that are shipped or that others need."""

from __future__ import annotations

import re
import shutil
import uuid
from pathlib import Path

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import METADATA, find_bundles, shipped_models, user_models


def rename_model(old: str, new: str, *folders: Path) -> Path:
    """Give one of the user's models another name.

    Args:
        old: its name.
        new: what it shall be called.
        folders: further folders of models, in which others may derive from it.

    Returns:
        Its new folder.

    Raises:
        InputError: for a name that cannot be one or is taken, or a folder that cannot be moved.
        BundleError: when it is none of the user's own, or another model derives from it.
    """
    folder = _own(old)
    checked_name(new)
    if new in find_bundles(*folders) or (folder.parent / new).exists():
        raise InputError(f"there is a model '{new}' already: choose another name.")
    _check_unneeded(old, folders)
    try:
        return folder.rename(folder.parent / new)
    except OSError as error:
        raise InputError(f"{folder}: cannot be renamed ({error.strerror}).") from error


def remove_model(name: str, *folders: Path) -> None:
    """Delete one of the user's models.

    Raises:
        InputError: for a folder that cannot be deleted.
        BundleError: when it is none of the user's own, or another model derives from it.
    """
    folder = _own(name)
    _check_unneeded(name, folders)
    gone = folder.parent / f".removed-{uuid.uuid4().hex}"
    try:
        gone.mkdir()
        folder.rename(gone / name)  # at once for everybody who lists models
        shutil.rmtree(gone)
    except OSError as error:
        raise InputError(f"{folder}: cannot be removed ({error.strerror}).") from error


def checked_name(name: str) -> str:
    """The name itself, where it can be that of a model folder.

    Raises:
        InputError: when it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}", name):
        raise InputError(
            f"'{name}' cannot be a model's name: take letters, digits, '_', '-' and '.', a letter or digit first, at "
            "most 80."
        )
    return name


def _own(name: str) -> Path:
    folder = user_models() / checked_name(name)
    if (folder / METADATA).is_file():
        return folder
    if (shipped_models() / name / METADATA).is_file():
        raise BundleError(f"'{name}' comes with the package and stays: only your own models can be changed.")
    own = sorted(path.parents[1].name for path in user_models().glob(f"*/{METADATA}"))
    raise BundleError(f"you have no model '{name}' in {user_models()}; there are {', '.join(own) or 'none'}.")


def _check_unneeded(name: str, folders: tuple[Path, ...]) -> None:
    bundles = find_bundles(*folders).values()
    needing = [bundle.name for bundle in bundles if bundle.uncertainty.base and bundle.uncertainty.base.name == name]
    if needing:
        raise BundleError(f"'{name}' is the base of {', '.join(needing)}: remove those first.")
