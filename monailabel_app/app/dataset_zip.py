"""Labelled cases as one zip, for those who train elsewhere."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uncertaintyseg.data.one_file import as_one_file
from uncertaintyseg.errors import InputError


def write_dataset_zip(cases: Sequence[tuple[str, Sequence[Path], Path]], records: dict[str, Any]) -> str:
    """Write scans to `image/`, labels to `label/` and the records to `metadata.json`.

    Args:
        cases: Image id, the files of the channels, most often one, and the label of each.
        records: As `metadata.json` has them.

    Returns:
        Path of the zip, which is whoever asked for it to remove.

    Raises:
        InputError: There is no case.
    """
    if not cases:
        raise InputError("no image has a final label yet, so there is no dataset to download")
    with tempfile.NamedTemporaryFile(delete=False) as file, zipfile.ZipFile(file, "x") as archive:
        for image, paths, label in cases:
            for number, path in enumerate(paths):
                name = image if len(paths) == 1 else f"{image}_{number:04d}"
                with tempfile.TemporaryDirectory() as folder:
                    scan = as_one_file(path, name, Path(folder))
                    archive.write(scan, f"image/{scan.name}")
            archive.write(label, f"label/{label.name}")
        archive.writestr("metadata.json", json.dumps(records))
        return file.name
