"""Labelled cases as one zip, for those who train elsewhere."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monailabel_app.app.label_names import clear_names
from monailabel_app.verified import Boxes, counting_boxes, verified_mask
from uncertaintyseg.data.one_file import as_one_file
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from monailabel_app.app.datastore import StudyDatastore
    from monailabel_app.store.records import CurrentLabel


Zipped = tuple[str, Sequence[Path], Path, Boxes, Mapping[int, str]]
"""Image id, the files of its channels, its label, what of that is verified, and the names of its numbers."""


def zipped(datastore: StudyDatastore, label: CurrentLabel) -> Zipped:
    """A case of the zip, with a label that counts. Raises as `StudyDatastore.image_path`."""
    image, version = label.version.image, label.version
    names = clear_names(version.info) if datastore.store.was_sent(version) else {}
    file = Path(datastore.get_label_uri(image, version.tag))
    return image, datastore.channel_paths(image), file, counting_boxes(label.info), names


def write_dataset_zip(cases: Sequence[Zipped], records: dict[str, Any]) -> str:
    """Write scans to `image/`, labels to `label/` and the records to `metadata.json`.

    Of a label that was seen in part, `verified/<id>.nii.gz` is 1 where a person has looked.

    Args:
        cases: Image id, the files of the channels, most often one, the label, the boxes of it that are verified, none
            for all of it, and the names of its numbers, none where they are a data set's or nobody knows them.
        records: As `metadata.json` has them.

    Returns:
        Path of the zip, which is whoever asked for it to remove.

    Raises:
        InputError: There is no case.
    """
    if not cases:
        raise InputError("no image has a final label yet, so there is no dataset to download")
    with tempfile.NamedTemporaryFile(delete=False) as file, zipfile.ZipFile(file, "x") as archive:
        for image, paths, label, boxes, names in cases:
            for number, path in enumerate(paths):
                name = image if len(paths) == 1 else f"{image}_{number:04d}"
                with tempfile.TemporaryDirectory() as folder:
                    scan = as_one_file(path, name, Path(folder))
                    archive.write(scan, f"image/{scan.name}")
            with tempfile.TemporaryDirectory() as folder:
                archive.write(_named(label, names, Path(folder)), f"label/{label.name}")
            if boxes:
                with tempfile.TemporaryDirectory() as folder:
                    mask = Path(folder) / f"{image}.nii.gz"
                    write_volume(mask, *verified_mask(label, boxes))
                    archive.write(mask, f"verified/{mask.name}")
        archive.writestr("metadata.json", json.dumps(records))
        return file.name


def _named(label: Path, names: Mapping[int, str], folder: Path) -> Path:
    """The label, or a copy that says what its numbers are: older servers kept them without."""
    if not names or segments_in(label):
        return label
    volume = read_label(label)
    write_volume(folder / "label.nii.gz", volume[0].numpy(), volume.affine.numpy(), names=names)
    return folder / "label.nii.gz"
