"""Older records, `datastore_v2.json`, read once into new ones; what cannot be read there is left out and said."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monailabel_app.store import strict
from monailabel_app.store.exports import RECORDS
from monailabel_app.store.records import Records, Version
from monailabel_app.store.versions import VersionFiles
from uncertaintyseg.errors import InputError

KEPT = f"{RECORDS}.imported"
"""Copy of the records that were imported."""


def import_records(records: Records, studies: Path, files: VersionFiles, say: Callable[[str], None]) -> None:
    """Take over what an older server, or the export of lost records, knew of a folder.

    Args:
        records: New ones.
        studies: Folder with `datastore_v2.json`, its copy, or neither.
        files: Of versions; the labels in `labels/` join them.
        say: Told of what was done and of what was left out.
    """
    found = _readable(studies)
    if found is None:
        if (studies / RECORDS).exists():
            say(f"{RECORDS} cannot be read, nor its copy; records begin anew from the files, notes and scores are gone")
        return
    source, data, text = found
    (studies / KEPT).write_bytes(text)
    left_out: list[str] = []
    with records.transaction():
        for key in ("name", "description"):
            if isinstance(data.get(key), str):
                records.set_meta(key, data[key])
        known = _versions(records, data, left_out)
        for image, record in data["objects"].items():
            _take(records, files, studies, image, record, known, left_out)
    say(f"{len(data['objects'])} records were imported from {source}, which is kept as {KEPT}")
    if left_out:
        say(f"left out, as no reader of JSON could read it back: {', '.join(left_out[:20])}")


def _readable(studies: Path) -> tuple[str, dict[str, Any], bytes] | None:
    for name in (RECORDS, f"{RECORDS}.copy"):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            text = (studies / name).read_bytes()
            data = json.loads(text)
            if isinstance(data, dict) and isinstance(data.get("objects"), dict):
                return name, data, text
    return None


def _versions(records: Records, data: dict[str, Any], left_out: list[str]) -> dict[tuple[str, str], int]:
    """Versions of an export of ours; returns the newest of each label."""
    newest: dict[tuple[str, str], int] = {}
    ours = data.get("uncertaintyseg")
    for entry in ours.get("versions", []) if isinstance(ours, dict) else []:
        version = _version(records, entry, left_out)
        if version is not None:
            newest[version.image, version.tag] = version.id
    return newest


def _version(records: Records, entry: Any, left_out: list[str]) -> Version | None:
    try:
        file = (entry["sha256"], entry["suffix"], int(entry["bytes"]))
        made = {"source": entry["source"], "made_by": entry["made_by"], "seconds": entry["seconds"]}
        return records.add_version(entry["image"], entry["tag"], file, entry["info"], **made, at=entry["time"])
    except (KeyError, TypeError, ValueError, InputError) as error:
        left_out.append(f"a version ({error})")
        return None


def _take(
    records: Records, files: VersionFiles, studies: Path, image: str, record: Any, known: dict[tuple[str, str], int],
    left_out: list[str],
) -> None:  # fmt: skip
    try:
        info, ext = _info(record["image"], f"{image}.info", left_out)
        records.put_image(image, f"{image}{ext}", info)
        labels = record.get("labels") or {}
    except (KeyError, TypeError, AttributeError, InputError) as error:
        left_out.append(f"{image!a} ({error})")
        return
    for tag, label in labels.items():
        try:
            info, ext = _info(label, f"{image}.{tag}.info", left_out)
            path = studies / "labels" / tag / f"{image}{ext}"
            if not path.is_file():
                continue
            file = files.keep(path.read_bytes(), ext)
            version = records.version(known.get((image, tag), 0))
            if version is None or version.sha256 != file[0]:
                at = info.get("ts") if isinstance(info.get("ts"), int | float) else time.time()
                version = records.add_version(image, tag, file, info, source="imported", at=at)
            records.set_label(version, info)
            stat = path.stat()
            records.set_label_file(image, tag, stat.st_size, stat.st_mtime_ns)
        except (KeyError, TypeError, AttributeError, ValueError, InputError) as error:
            left_out.append(f"{image!a}, label {tag!a} ({error})")


def _info(record: dict[str, Any], name: str, left_out: list[str]) -> tuple[dict[str, Any], str]:
    """What is noted, without the fields that cannot be kept, and the suffix of the file."""
    known = record.get("info") or {}
    kept = {key: value for key, value in known.items() if _can_be_kept({key: value}, name, left_out)}
    return kept, str(record.get("ext") or "")


def _can_be_kept(field: dict[str, Any], name: str, left_out: list[str]) -> bool:
    try:
        strict.check(field, name)
    except InputError as error:
        left_out.append(str(error))
        return False
    return True
