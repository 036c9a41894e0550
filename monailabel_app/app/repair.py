"""What a crash or a damaged disk left in the studies folder, and its repair."""

from __future__ import annotations

import re
import time
from pathlib import Path

from monailabel.datastore.local import LocalDatastoreModel

from uncertaintyseg.data.writing import write_bytes

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


def write_records(path: Path, data: bytes) -> None:
    """Write the records file and then its copy; whatever was acknowledged is in both."""
    write_bytes(path, data)
    write_bytes(_copy_of(path), data)


def set_aside(path: Path) -> str:
    """Keep an unreadable records file under another name and return that name."""
    aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**9:09d}")
    path.rename(aside)
    return aside.name


def restore_records(path: Path) -> str:
    """Put the copy in place of a records file that was set aside; say where the records come from now."""
    try:
        data = _copy_of(path).read_bytes()
        LocalDatastoreModel.model_validate_json(data)
    except (OSError, ValueError):
        return "rebuilt from the files in the folder (its copy cannot be read either, so notes and scores are gone)"
    write_bytes(path, data)
    return "restored from its copy"


def remove_unfinished(studies: Path) -> list[str]:
    """Remove the files of writes that a crash cut short; return their names. None of them was acknowledged."""
    folders = [studies, *(folder for folder in (studies / "labels").glob("*") if folder.is_dir())]
    found = [path for folder in folders for path in folder.iterdir() if _UNFINISHED.fullmatch(path.name)]
    for path in found:
        path.unlink(missing_ok=True)
    return [str(path.relative_to(studies)) for path in found]


def _copy_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.copy")
