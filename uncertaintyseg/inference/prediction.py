"""What an inference ends with: a label and risk maps on the scan's own grid."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uncertaintyseg.data.scan import encode_map, write_bytes, write_volume
from uncertaintyseg.inference.state import InferenceState
from uncertaintyseg.wire import MapInfo, Provenance, Structure


@dataclass(frozen=True)
class Prediction:
    """A label, its risk maps and what they say, on the scan's grid.

    Attributes:
        label: class ids, uint8 `[*S]`.
        affine: of the scan, 4x4.
        maps: float32 `[*S]` by name.
        map_info: unit, range and source of each map.
        structures: the structure table.
        provenance: everything needed to make it again.
        case_score: mean predictive entropy (nats) within 3 mm of the predicted foreground.
        state: for coherent samples; None where the head has none.
    """

    label: np.ndarray
    affine: np.ndarray
    maps: dict[str, np.ndarray]
    map_info: dict[str, MapInfo]
    structures: list[Structure]
    provenance: Provenance
    case_score: float
    state: InferenceState | None = None

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each stage."""
        return self.provenance.seconds

    def save(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Write `label.nii.gz`, a NIfTI file a map (uint16 with a slope) and `report.json`; returns the report.

        Raises:
            InputError: when the folder cannot be written.
        """
        folder = Path(folder).resolve()
        paths = {name: folder / f"{name}.nii.gz" for name in self.maps}
        # Encoding refuses damaged maps, so it comes before anything is overwritten.
        encoded = {n: encode_map(value, self.affine, self.map_info[n].range) for n, value in self.maps.items()}
        write_volume(folder / "label.nii.gz", self.label, self.affine)
        for name, path in paths.items():
            write_bytes(path, encoded[name])
        report = {
            "label": str(folder / "label.nii.gz"),
            "maps": {name: str(path) for name, path in paths.items()},
            "structures": [row.model_dump() for row in self.structures],
            "case_score": self.case_score,
            "provenance": self.provenance.model_dump(),
            "seconds": self.seconds,
        }
        write_bytes(folder / "report.json", json.dumps(report, indent=2).encode())
        return report
