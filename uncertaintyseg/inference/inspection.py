"""A second look at a saved prediction: how its structures are shaped, and how far they may be from the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from pydantic import BaseModel, Field, ValidationError

from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.cleanup import clean_up
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.time_axis import TIME
from uncertaintyseg.data.writing import encode_map, write_bytes, write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.ellipses import MeasuredEllipse, compared_ellipse, whole_probability
from uncertaintyseg.metrics.frames import refuse_clip
from uncertaintyseg.review.anomaly import anomaly_score, expected_anomaly, expected_mismatch, mismatch
from uncertaintyseg.review.existing_label import label_error
from uncertaintyseg.review.shape_features import ShapeRow, shape_features
from uncertaintyseg.wire import SizeUnit, Structure


class _Made(BaseModel):
    channels: dict[str, str] = Field(default_factory=dict)
    values: dict[int, int] = Field(default_factory=dict)
    ignore: int | None = None


class _Report(BaseModel):
    """What is needed of a report.json."""

    structures: list[Structure]
    provenance: _Made = Field(default_factory=_Made)
    axis: str | None = None
    size_unit: SizeUnit = "mL"


@dataclass(frozen=True)
class Anomaly:
    """Scores of one structure (`review.anomaly`); NaN where they are not defined.

    Attributes:
        expected: expected mismatch relative to the predicted size, from the model's probabilities alone.
        expected_symmetric: the same relative to the mean of predicted and expected size.
        against_reference: mismatch relative to the reference's size; None without a reference.
        symmetric_against_reference: the same relative to the mean of both sizes.
    """

    expected: float
    expected_symmetric: float
    against_reference: float | None = None
    symmetric_against_reference: float | None = None


@dataclass(frozen=True)
class Inspection:
    """What a saved prediction says on a second look.

    Attributes:
        label: class ids `[X, Y, Z]`, after the clean-up that was asked for.
        cleaned: whether one was.
        affine: 4x4, voxel to RAS+ mm.
        error_probability: 1 - p[label] `[X, Y, Z]`.
        reference: class ids `[X, Y, Z]`, where one was given.
        shapes: the feature table.
        ellipses: of each structure by name, in an image; empty for a volume.
        size_unit: "mL" of volumes, "mm2" of images, "px" where lengths called mm count pixels.
        anomalies: scores of each structure by name.
        expected_errors: expected number of wrong voxels, sum of 1 - p[label], relative to the predicted foreground; NaN
            without any.
        heat: expected mismatch `[X, Y, Z]` of each structure by name.
        mismatches: mismatch with the reference `[X, Y, Z]` of each structure by name; empty without one.
        channels: name of the file of each channel, where the scan had several.
    """

    label: np.ndarray
    cleaned: bool
    affine: np.ndarray
    error_probability: np.ndarray
    reference: np.ndarray | None
    shapes: list[ShapeRow]
    anomalies: dict[str, Anomaly]
    expected_errors: float
    heat: dict[str, np.ndarray]
    mismatches: dict[str, np.ndarray]
    channels: dict[str, str] = field(default_factory=dict)
    ellipses: dict[str, MeasuredEllipse] = field(default_factory=dict)
    size_unit: str = "mL"

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `anomaly_<structure>.nii.gz` (`mismatch_<structure>.nii.gz`, `label_clean.nii.gz`); returns the paths.

        Raises:
            InputError: when the folder cannot be written.
        """
        folder = Path(folder).resolve()
        paths = []
        for name, heat in self.heat.items():
            paths.append(folder / f"anomaly_{name}.nii.gz")
            write_bytes(paths[-1], encode_map(heat, self.affine, (0.0, 1.0)))
        for name, wrong in self.mismatches.items():
            paths.append(folder / f"mismatch_{name}.nii.gz")
            write_volume(paths[-1], wrong, self.affine)
        if self.cleaned:
            paths.append(folder / "label_clean.nii.gz")
            write_volume(paths[-1], self.label, self.affine)
        return paths

    def table(self) -> list[dict[str, Any]]:
        """The structures' features and scores, for JSON."""
        return [
            asdict(row)
            | {"anomaly": asdict(self.anomalies[row.name])}
            | ({"ellipse": self.ellipses[row.name].as_json()} if self.ellipses else {})
            for row in self.shapes
        ]


def inspect(
    folder: str | os.PathLike[str],
    reference: str | os.PathLike[str] | None = None,
    *,
    closing_mm: float = 0.0,
    smallest: float = 0.0,
    largest: Mapping[str, int] | None = None,
    ignore: int | None = None,
) -> Inspection:
    """Look again at what `Prediction.save` wrote.

    Args:
        folder: with `label.nii.gz`, `report.json`, `error_probability.nii.gz` and `probability_<structure>.nii.gz`.
        reference: label volume on the same grid, as a data set of the model has it: its names count, else its numbers
            by the model's `uncertainty.values`, else they are class ids.
        closing_mm: with the next two, cleans the label first (`data.cleanup`); off by default.
        smallest: see there; in the prediction's own unit of sizes, `Inspection.size_unit`.
        largest: see there, by the name of a structure; the empty name is of all that have no number of their own.
        ignore: id in the reference of voxels without a verdict, where nothing is compared; by default the model's.

    Raises:
        InputError: for a folder that holds no prediction, damaged files, a reference that does not fit, or a structure
            that it has not got.
    """
    folder = Path(folder)
    report = _read_report(folder / "report.json")
    structures, clip = report.structures, report.axis == TIME
    refuse_clip(clip, "shape to look at again")
    ids = [item.id for item in structures]
    predicted = read_label(folder / "label.nii.gz", ids)
    affine = np.asarray(predicted.affine, dtype=np.float64)
    clean = {"closing_mm": closing_mm, "smallest": smallest, "largest": _by_id(largest or {}, structures)}
    label = clean_up(predicted[0].numpy(), spacing_mm(affine), **clean, unit=report.size_unit)
    error = _read_map(folder / "error_probability.nii.gz", label.shape)
    truth = judged = None
    if reference is not None:
        drawn = Case("", folder, Path(reference))
        meaning = {"ignore": report.provenance.ignore if ignore is None else ignore, "values": report.provenance.values}
        truth = read_case_label(drawn, {n.name: n.id for n in structures}, like=predicted, **meaning)[0].numpy()
        judged = truth != IGNORED

    anomalies, heat, wrong = {}, {}, {}
    probabilities = {n.name: _read_map(folder / f"probability_{n.name}.nii.gz", label.shape) for n in structures}
    changed = label != predicted[0].numpy()
    error[changed] = label_error(label, probabilities, structures)[changed]
    for item in structures:
        inside, probability = label == item.id, probabilities[item.name]
        heat[item.name] = expected_mismatch(inside, probability)
        scores = [expected_anomaly(inside, probability, mode) for mode in ("xor_over_ref", "symmetric")]
        if truth is not None:
            compared = inside & judged, truth == item.id
            wrong[item.name] = mismatch(*compared)
            scores += [anomaly_score(*compared, mode) for mode in ("xor_over_ref", "symmetric")]
        anomalies[item.name] = Anomaly(*scores)
    foreground = np.count_nonzero(label)
    expected = float(error.sum(dtype=np.float64)) / foreground if foreground else float("nan")
    shapes = shape_features(label, affine, structures)
    ellipses = {}
    if report.size_unit != "mL" and label.shape[2] == 1:
        unit = "px" if report.size_unit == "px" else "mm"
        masks = {item.name: (label == item.id, None if truth is None else truth == item.id) for item in structures}
        known = {item.id: probabilities[item.name] for item in structures}
        ellipses = {
            n.name: compared_ellipse(*masks[n.name], whole_probability(label, n.id, known), affine, unit)
            for n in structures
        }
    return Inspection(
        label, any(clean.values()), affine, error, truth, shapes, anomalies, expected, heat, wrong,
        report.provenance.channels, ellipses, report.size_unit,
    )  # fmt: skip


def _by_id(largest: Mapping[str, int], structures: Sequence[Structure]) -> dict[int, int]:
    """How many pieces stay, by class id."""
    ids = {item.name: item.id for item in structures}
    unknown = [name for name in largest if name and name not in ids]
    if unknown:
        raise InputError(f"there is no structure '{unknown[0]}' in the prediction; it has {', '.join(ids)}.")
    whole = dict.fromkeys(ids.values(), largest[""]) if "" in largest else {}
    return whole | {ids[name]: count for name, count in largest.items() if name}


def _read_report(path: Path) -> _Report:
    try:
        return _Report.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: no such file; give a folder that `uncertaintyseg predict` wrote.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise InputError(f"{path}: not a report of this program ({where}: {first['msg']}); predict again.") from error


def _read_map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A map of probabilities; unlike a scan it may be the same everywhere."""
    try:
        values = nib.load(path).get_fdata(dtype=np.float32)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise InputError(f"{path}: missing or not a readable map ({error}); predict again.") from error
    if values.shape != shape or not (values.min() >= 0 and values.max() <= 1):
        raise InputError(f"{path}: not a map of probabilities on the grid of label.nii.gz; predict again.")
    return values
