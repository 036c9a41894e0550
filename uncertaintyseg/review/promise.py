"""Bounds on what stays wrong after a review: conformal risk control, and bounds with a confidence (METHODS 15).

The unit is the case: what is promised holds for cases that could as well have been among the calibration cases.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import bdtr

from uncertaintyseg.errors import InputError
from uncertaintyseg.review.calibration import MEASURE, Calibration
from uncertaintyseg.wire import Guarantee

ALPHA = 0.05
_SLACK = 1e-12


class OutOfReachError(InputError):
    """A bound that so many cases, or this model, cannot promise."""


def crc_threshold(losses: np.ndarray, alpha: float) -> int | None:
    """Index of the highest threshold with n/(n+1) mean loss + 1/(n+1) <= alpha (Angelopoulos et al. 2024, eq. 4).

    If that much is reviewed, the expected loss of a further exchangeable case is at most alpha, over the draw of all
    n + 1. There is no confidence in it: it may be more for a given calibration.

    Args:
        losses: of n cases, in [0, 1], never falling with the threshold `[n, T]`.
        alpha: the bound.

    Returns:
        None where no threshold will do; only a review of everything, with loss 0, then keeps the bound.
    """
    n = len(losses)
    return _last((losses.sum(0) + 1) / (n + 1) <= alpha + _SLACK)


def rcps_threshold(losses: np.ndarray, alpha: float, delta: float) -> int | None:
    """Index of the highest threshold whose expected loss is at most alpha with confidence 1 - delta.

    Risk-controlling prediction sets (Bates et al. 2021) with the Hoeffding-Bentkus bound: thresholds are tested from
    the safest on, each at level delta, until one fails.

    Args and Returns: as `crc_threshold`; `delta` is the chance over the calibration draw that the bound fails.
    """
    n = len(losses)
    return _last(hoeffding_bentkus(losses.mean(0), n, alpha) <= delta + _SLACK)


def hoeffding_bentkus(mean: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """p-value of the hypothesis that the expected loss exceeds alpha, from the mean of n losses in [0, 1].

    min(exp(-n kl(mean, alpha)), e P(Bin(n, alpha) <= ceil(n mean))) (Bates et al. 2021, eq. 8), 1 from mean = alpha on.
    """
    m = np.minimum(np.asarray(mean, np.float64), alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        some = np.where(m > 0, m * np.log(m / alpha), 0.0)
        kl = some + (1 - m) * np.log((1 - m) / (1 - alpha))
    bentkus = math.e * bdtr(np.ceil(n * np.asarray(mean) - 1e-9), n, alpha)
    return np.where(np.asarray(mean) >= alpha, 1.0, np.minimum(np.exp(-n * kl), np.minimum(bentkus, 1.0)))


def reachable(n: int, delta: float | None = None) -> float:
    """Smallest bound that n cases without any loss could promise: 1/(n+1), or 1 - delta^(1/n) with a confidence."""
    return 1 / (n + 1) if delta is None else 1 - delta ** (1 / n)


def cases_needed(alpha: float, delta: float | None = None) -> float:
    """Cases without any loss that could promise a bound, a whole number: the least n with `reachable` <= alpha."""
    least = 1 / alpha - 1 if delta is None else math.log(delta) / math.log1p(-alpha)
    return float(max(np.ceil(least - 1e-9), 1))


def guarantee(
    calibration: Calibration, alpha: float = ALPHA, delta: float | None = None, size: str = "volume"
) -> Guarantee:
    """The promise that a calibration can make.

    Args:
        calibration: of the model.
        alpha: bound on wrong voxels left / reference voxels of a case, clipped to 1.
        delta: None bounds the average over cases; a number asks for confidence 1 - delta over the calibration draw.
        size: what a reference has, in words: "area" in images and clips.

    Raises:
        OutOfReachError: when so many cases cannot promise it, or the scan would have to be reviewed as a whole.
        InputError: for an alpha or delta that is not between 0 and 1.
    """
    check_bound(alpha, delta)
    least = reachable(calibration.n, delta)
    if alpha < least - _SLACK:
        raise OutOfReachError(
            f"{_bound(alpha, delta)} cannot be promised with {calibration.n} calibration cases: it would "
            f"take {cases_needed(alpha, delta):.7g} or more; {_percent(least)} is the least that {calibration.n} could "
            "promise."
        )
    losses = calibration.losses
    index = crc_threshold(losses, alpha) if delta is None else rcps_threshold(losses, alpha, delta)
    if index is None:
        raise OutOfReachError(f"{_bound(alpha, delta)} could be promised only if the whole scan were reviewed.")
    threshold = calibration.thresholds[index]
    by = "" if calibration.measure == MEASURE else f" (read from the map '{calibration.measure}')"
    often = "on average" if delta is None else f"on average, {_confidence(delta)},"
    return Guarantee(
        kind="crc" if delta is None else "rcps",
        alpha=alpha,
        delta=delta,
        threshold=threshold,
        cases=calibration.n,
        reachable_alpha=round(least, 6),
        text=(
            f"If every voxel with an error probability{by} above {_percent(threshold)} is reviewed and corrected, what "
            f"stays wrong is {often} {_bound(alpha)} of the true {size}, for cases like the {calibration.n} "
            f"of {calibration.data}."
        ),
    )


def check_bound(alpha: float, delta: float | None = None) -> None:
    """Raise `InputError` unless both are between 0 and 1."""
    for name, value in (("alpha", alpha), ("delta", delta)):
        if value is not None and not 0 < value < 1:
            raise InputError(f"{name} = {value:g} is not between 0 and 1.")


def promised(
    calibration: Calibration | None,
    reason: str | None,
    alpha: float = ALPHA,
    delta: float | None = None,
    size: str = "volume",
) -> tuple[Guarantee | None, str | None]:
    """The promise of a result, or None and why there is none; `reason` says why there is no calibration."""
    if calibration is None:
        return None, reason
    try:
        return guarantee(calibration, alpha, delta, size), None
    except OutOfReachError as error:
        return None, str(error)


def _last(holds: np.ndarray) -> int | None:
    """Index before the first that does not hold; None where that is the first."""
    first = int(np.argmin(holds)) if not holds.all() else holds.size
    return first - 1 if first else None


def _bound(alpha: float, delta: float | None = None) -> str:
    return f"at most {100 * alpha:.10g} %" + ("" if delta is None else f" {_confidence(delta)}")


def _confidence(delta: float) -> str:
    return f"with {100 * (1 - delta):.10g} % confidence"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
