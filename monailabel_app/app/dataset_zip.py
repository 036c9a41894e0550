"""Labelled cases as one zip, for those who train elsewhere."""

from __future__ import annotations

import json
import logging
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monailabel_app.app.label_names import clear_names
from monailabel_app.errors import told
from monailabel_app.verified import counting_boxes, verified_mask
from uncertaintyseg.data.one_file import as_one_file
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError, UncertaintySegError

if TYPE_CHECKING:
    from monailabel_app.app.datastore import StudyDatastore
    from monailabel_app.store.records import CurrentLabel


logger = logging.getLogger(__name__)
LEFT_OUT = "left_out.txt"


def write_dataset_zip(datastore: StudyDatastore, labels: Sequence[CurrentLabel]) -> str:
    """Write scans to `image/`, labels to `label/` and the records to `metadata.json`.

    Of a label that was seen in part, `verified/<id>.nii.gz` is 1 where a person has looked. A case that cannot be read
    is left out; `left_out.txt` then has its id and the reason.

    Args:
        datastore: Has them.
        labels: Those that count, one of each case.

    Returns:
        Path of the zip, which is whoever asked for it to remove.

    Raises:
        InputError: There is no case, or none that can be read.
    """
    if not labels:
        raise InputError("no image has a final label yet, so there is no dataset to download")
    left_out: dict[str, UncertaintySegError] = {}
    with tempfile.NamedTemporaryFile(delete=False) as file, zipfile.ZipFile(file, "x") as archive:
        for label in labels:
            image = label.version.image
            with tempfile.TemporaryDirectory() as folder:
                try:
                    for path, name in _files(datastore, label, Path(folder)):
                        archive.write(path, name)
                except UncertaintySegError as error:
                    logger.warning("%s is left out of a dataset: %s", image, error)
                    left_out[image] = error
        if left_out:
            archive.writestr(LEFT_OUT, "".join(f"{image}: {told(error)}\n" for image, error in left_out.items()))
        archive.writestr("metadata.json", json.dumps(datastore.json()))
    if len(left_out) == len(labels):
        Path(file.name).unlink()
        raise next(iter(left_out.values()))
    return file.name


def _files(datastore: StudyDatastore, label: CurrentLabel, folder: Path) -> list[tuple[Path, str]]:
    """The files of a case with their names in the zip, all of them readable. Raises as `StudyDatastore.image_path`."""
    image, version = label.version.image, label.version
    paths = datastore.channel_paths(image)
    names = [image] if len(paths) == 1 else [f"{image}_{number:04d}" for number in range(len(paths))]
    scans = [as_one_file(path, name, folder) for path, name in zip(paths, names, strict=True)]
    meaning = clear_names(version.info) if datastore.store.was_sent(version) else {}
    drawn = Path(datastore.get_label_uri(image, version.tag))
    files = [(scan, f"image/{scan.name}") for scan in scans]
    files.append((_named(drawn, meaning, folder), f"label/{drawn.name}"))
    if boxes := counting_boxes(label.info):
        write_volume(folder / "verified.nii.gz", *verified_mask(drawn, boxes))
        files.append((folder / "verified.nii.gz", f"verified/{image}.nii.gz"))
    return files


def _named(label: Path, names: Mapping[int, str], folder: Path) -> Path:
    """The label, or a copy that says what its numbers are: older servers kept them without."""
    if not names or segments_in(label):
        return label
    volume = read_label(label)
    write_volume(folder / "label.nii.gz", volume[0].numpy(), volume.affine.numpy(), names=names)
    return folder / "label.nii.gz"
