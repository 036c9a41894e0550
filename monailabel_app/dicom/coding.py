"""What derived objects share: who made them, and coded names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, generate_uid

from uncertaintyseg import __version__, wire

SCHEME = "99USEG"
"""Designator of our own codes: structures without a SNOMED CT code, and the maps."""

RESEARCH_ONLY = "Research only, not for clinical use"
"""What every object that goes to an archive says of itself."""

_MANUFACTURER = "SlicerUncertaintySeg"
_LONGEST = 64  # characters of a Long String (LO)


@dataclass(frozen=True)
class Source:
    """Which model made a label or a map, by name and SHA-256 of its weights; no model: a person drew it."""

    model: str | None = None
    checksum: str = ""
    edited: bool = False
    """Whether a person worked on it since."""
    identity: str = ""
    """What its UIDs are derived from, so that making it again gives the same object; empty for new ones."""

    def uid(self, kind: str) -> UID:
        """A UID for one thing that is made, such as a series."""
        return generate_uid(entropy_srcs=[f"{self.identity} {kind}"]) if self.identity else hd.UID()

    def equipment(self) -> dict[str, Any]:
        """Arguments of every highdicom object: its identity and its maker."""
        return {
            "series_instance_uid": self.uid("series"),
            "sop_instance_uid": self.uid("instance"),
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


def with_text_of(instance: Dataset, header: Dataset) -> Dataset:
    """Have an object write its texts as the slices do that they are copied from: names in any script stay whole."""
    if header.get("SpecificCharacterSet"):
        instance.SpecificCharacterSet = header.SpecificCharacterSet
    return instance


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
