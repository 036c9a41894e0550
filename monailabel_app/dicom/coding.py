"""What derived objects share: who made them, and coded names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import highdicom as hd
from pydicom.sr.codedict import codes

from uncertaintyseg import __version__, wire

SCHEME = "99USEG"
"""Designator of our own codes: structures without a SNOMED CT code, and the maps."""

_MANUFACTURER = "SlicerUncertaintySeg"
_LONGEST = 64  # characters of a Long String (LO)


@dataclass(frozen=True)
class Source:
    """Which model made a label or a map, by name and SHA-256 of its weights; no model: a person drew it."""

    model: str | None = None
    checksum: str = ""
    edited: bool = False
    """Whether a person worked on it since."""

    def equipment(self) -> dict[str, Any]:
        """Arguments of every highdicom object: its identity and its maker."""
        return {
            "series_instance_uid": hd.UID(),
            "sop_instance_uid": hd.UID(),
            "instance_number": 1,
            "manufacturer": _MANUFACTURER,
            "manufacturer_model_name": text(self.model or "none"),
            "software_versions": __version__,
            "device_serial_number": self.checksum or "none",
        }

    def algorithm(self) -> hd.AlgorithmIdentificationSequence | None:
        """The model as DICOM names algorithms, or None where there is none."""
        if self.model is None:
            return None
        return hd.AlgorithmIdentificationSequence(
            name=text(self.model),
            family=codes.DCM.ArtificialIntelligence,
            version=__version__,
            source=_MANUFACTURER,
            parameters={"weights_sha256": self.checksum},
        )


def structure_code(label: wire.Label) -> hd.sr.CodedConcept:
    """SNOMED CT code of a structure, else one of our own that holds its name."""
    if label.snomed:
        return hd.sr.CodedConcept(label.snomed, "SCT", text(label.name))
    return own_code(label.name)


def own_code(name: str) -> hd.sr.CodedConcept:
    """A code of scheme 99USEG; its value is the name."""
    value = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:_LONGEST]
    return hd.sr.CodedConcept(value or "_", SCHEME, text(name))


def text(value: str) -> str:
    """A name as a Long String: printable ASCII without backslashes, at most 64 characters."""
    return re.sub(r"[^ -\[\]-~]", "?", value)[:_LONGEST].strip() or "?"
