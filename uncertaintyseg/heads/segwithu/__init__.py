"""SegWithU: probes beside a frozen network that rank and calibrate its errors in one pass (METHODS 7)."""

from uncertaintyseg.heads.segwithu.head import SegWithU

__all__ = ["SegWithU"]
