"""A risk-coverage curve of four rows, with and without calibration."""

from __future__ import annotations

from types import SimpleNamespace

from UncertaintySegLib.server.results import Guarantee, InferResult, RiskCoveragePoint

_COLUMNS = ("threshold", "coverage", "reviewed_ml", "regions", "expected_error", "lo", "hi")
_ROWS = (
    (0.05, 0.96, 4.0, 12, 0.004, 0.002, 0.007),
    (0.2, 0.98, 2.0, 7, 0.012, 0.008, 0.019),
    (0.4, 0.99, 1.0, 3, 0.03, 0.02, 0.045),
    (0.9, 1.0, 0.0, 0, 0.08, 0.06, 0.11),
)
POINTS = SimpleNamespace(
    calibrated=tuple(RiskCoveragePoint(**dict(zip(_COLUMNS, row, strict=True))) for row in _ROWS),
    uncalibrated=tuple(RiskCoveragePoint(**dict(zip(_COLUMNS, row[:4], strict=False))) for row in _ROWS),
)
GUARANTEE = Guarantee(
    kind="crc",
    alpha=0.05,
    delta=None,
    threshold=0.2,
    cases=40,
    reachable_alpha=0.024,
    text="If every voxel with an error probability above 20 % is reviewed and corrected, what stays wrong is on average"
    " at most 5 % of the true volume, for cases like the 40 of phantoms.",
)


def a_result(**changes) -> InferResult:
    """Return a result with this curve; `changes` are fields of it."""
    fields = {
        "key": "k3y",
        "label_url": "",
        "labels": (),
        "maps": {},
        "structures": (),
        "provenance": {},
        "risk_coverage": POINTS.calibrated,
        "guarantee": GUARANTEE,
        **changes,
    }
    return InferResult(**fields)
