"""What an inference ends with: a label and risk maps on the scan's own grid."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.time_axis import TIME, Measure
from uncertaintyseg.data.writing import encode_map, map_steps, write_bytes, write_volume
from uncertaintyseg.inference.state import InferenceState
from uncertaintyseg.inference.stream.scratch import Scratch
from uncertaintyseg.inference.volumes import BoxVolume
from uncertaintyseg.review.calibration import MEASURE
from uncertaintyseg.review.frame_curves import frame_curves
from uncertaintyseg.review.order import worst_first
from uncertaintyseg.review.structures import remaining_error
from uncertaintyseg.wire import Cut, FrameCurves, Guarantee, MapInfo, Provenance, Region, RiskCoveragePoint, Structure

_OF_ONE = ("probability_", "variance_")
"""What maps of single structures are called; `valid` is no uncertainty."""
_PLANES = 16
"""Of a map, checked at once."""


@dataclass(frozen=True)
class Prediction:
    """A label, its risk maps and what they say, on the scan's grid.

    Attributes:
        label: class ids, uint8 `[*S]`.
        affine: of the scan, 4x4.
        maps: float32 `[*S]` by name, in memory or memory-mapped; those of single structures as `BoxVolume`s.
        map_info: unit, range and source of each map.
        structures: the structure table.
        provenance: everything needed to make it again.
        case_score: mean predictive entropy (nats) within 3 mm of the predicted foreground.
        state: for coherent samples; None where the head has none.
        regions: places to look at, worst first (`review.regions`).
        risk_coverage: how much there is to review at each threshold, and with a calibration what stays wrong.
        guarantee: what is promised of it; None without a calibration.
        guarantee_reason: why nothing is promised.
        case_scores: of the case by measure (`active.acquisition`).
        features: `[F]`, what the case looks like to the network (`inference.features`).
        alternative: of each voxel labelled background the likeliest structure, uint8 `[*S]`; 0 where none is likely at
            all. None in results of old.
        driven_by: the map that ranks voxels, from which the error probability was read: regions, curve and promise go
            by it.
        threshold: that was asked for, and where it lies; None without one.
        sizes: what its sizes, those called `ml` too, are counted in; None: mL, as of any volume.
        scratch: keeps the files of maps that are too large for memory.
    """

    label: np.ndarray
    affine: np.ndarray
    maps: dict[str, np.ndarray | BoxVolume]
    map_info: dict[str, MapInfo]
    structures: list[Structure]
    provenance: Provenance
    case_score: float
    state: InferenceState | None = None
    regions: list[Region] = field(default_factory=list)
    risk_coverage: list[RiskCoveragePoint] = field(default_factory=list)
    guarantee: Guarantee | None = None
    guarantee_reason: str | None = None
    case_scores: dict[str, float] = field(default_factory=dict)
    features: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    alternative: np.ndarray | None = None
    scratch: Scratch | None = None
    driven_by: str = MEASURE
    threshold: Cut | None = None
    sizes: Measure | None = None

    @property
    def measure(self) -> Measure:
        """What its sizes are counted in."""
        return Measure.of_volume(self.affine) if self.sizes is None else self.sizes

    @property
    def axis(self) -> Literal["time"] | None:
        """What the third axis of a clip is: "time"; None where it is space."""
        return TIME if self.measure.clip else None

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Of the scan along each axis but time; None where it is unknown."""
        axes = 2 if self.measure.clip else 3
        return None if self.measure.unit == "px" else tuple(spacing_mm(self.affine)[:axes])

    @property
    def frames(self) -> FrameCurves | None:
        """Of a clip, its areas and its maps of all structures over time; None of anything else."""
        if not self.measure.clip:
            return None
        names = {row.id: row.name for row in self.structures}
        whole = {name: values for name, values in self.maps.items() if not name.startswith(_OF_ONE) and name != "valid"}
        return frame_curves(self.label, whole, names, self.measure.place)

    @property
    def valid(self) -> np.ndarray:
        """Where the model saw the scan, bool `[*S]`; elsewhere the maps are 0 and say nothing."""
        return self.maps["valid"] > 0 if "valid" in self.maps else np.ones(self.label.shape, bool)

    @property
    def remaining_error_ml(self) -> float:
        """Volume expected to be wrong, see `review.structures.remaining_error`."""
        return round(remaining_error(self.maps["error_probability"]) * self.measure.voxel, 4)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each stage."""
        return self.provenance.seconds

    def save(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Write `label.nii.gz`, a NIfTI file a map (uint16 with a slope) and `report.json`; returns the report.

        The label has the names of its structures, which count wherever a command reads it.

        Sizes in the report are in `size_unit`, also those of fields that end in `_ml`: areas of images, and of clips
        (`axis` is "time") the mean area of a frame; `frames` has those of each, and its uncertainty. It lists
        structures and regions by what is expected to be wrong (`review.order`).

        Stored error probabilities are never below the ones they stand for.

        Raises:
            InputError: when the folder cannot be written.
        """
        folder = Path(folder).resolve()
        paths = {name: folder / f"{name}.nii.gz" for name in self.maps}
        for name, values in self.maps.items():  # damaged maps are refused before anything is overwritten
            for start in range(0, values.shape[2], _PLANES):
                map_steps(values[:, :, start : start + _PLANES], self.map_info[name].range)
        names = {row.id: row.name for row in self.structures}
        write_volume(folder / "label.nii.gz", self.label, self.affine, names=names, about=self.measure.about)
        for name, path in paths.items():
            upward = name == MEASURE
            write_bytes(path, encode_map(self.maps[name], self.affine, self.map_info[name].range, upward=upward))
        report = {
            "label": str(folder / "label.nii.gz"),
            "maps": {name: str(path) for name, path in paths.items()},
            "structures": [row.model_dump() for row in worst_first(self.structures)],
            "regions": [region.model_dump() for region in worst_first(self.regions)],
            "remaining_error_ml": self.remaining_error_ml,
            "size_unit": self.measure.unit,
            "axis": self.axis,
            "spacing_mm": self.spacing_mm,
            "frames": None if (curves := self.frames) is None else curves.model_dump(),
            "risk_coverage": [point.model_dump() for point in self.risk_coverage],
            "driven_by": self.driven_by,
            "guarantee": None if self.guarantee is None else self.guarantee.model_dump(),
            "guarantee_reason": self.guarantee_reason,
            "threshold": None if self.threshold is None else self.threshold.model_dump(),
            "case_score": self.case_score,
            "case_scores": self.case_scores,
            "provenance": self.provenance.model_dump(),
            "seconds": self.seconds,
        }
        write_bytes(folder / "report.json", json.dumps(report, indent=2).encode())
        return report
