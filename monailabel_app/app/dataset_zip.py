"""Labelled cases as one zip, for those who train elsewhere."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from uncertaintyseg.data.one_file import as_one_file


def write_dataset_zip(cases: Iterable[tuple[str, Path, Path]], records: dict[str, Any]) -> str:
    """Write scans to `image/`, labels to `label/` and the records to `metadata.json`.

    Args:
        cases: Image id, scan and label of each.
        records: As `metadata.json` has them.

    Returns:
        Path of the zip, which is whoever asked for it to remove.
    """
    with tempfile.NamedTemporaryFile(delete=False) as file, zipfile.ZipFile(file, "x") as archive:
        for image, path, label in cases:
            with tempfile.TemporaryDirectory() as folder:
                scan = as_one_file(path, image, Path(folder))
                archive.write(scan, f"image/{scan.name}")
            archive.write(label, f"label/{label.name}")
        archive.writestr("metadata.json", json.dumps(records))
        return file.name
