"""How intensities become numbers of about 0 and 1: one scheme a channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.fingerprint import ChannelFacts, Fingerprint

Scheme = Literal["ct", "zscore", "nonzero"]
SCHEMES: tuple[Scheme, ...] = ("ct", "zscore", "nonzero")
_CROPPED = 0.75
"""Share of a scan that is not 0, below which what is 0 is no tissue (nnU-Net)."""


@dataclass(frozen=True)
class Normalization:
    """Of one channel.

    "ct" clips to `low`..`high` and takes mean and standard deviation of the foreground of all scans, "zscore" those of
    each scan, "nonzero" those of its voxels that are not 0.
    """

    scheme: Scheme
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    std: float | None = None


def choose_normalization(fingerprint: Fingerprint, given: str | None = None) -> tuple[list[Normalization], str]:
    """The scheme of each channel, and why.

    Args:
        fingerprint: of the data.
        given: a scheme for all channels instead, or one for each with commas between.

    Raises:
        InputError: for a scheme that is none, another number of them, or "ct" where no intensity was measured.
    """
    channels = fingerprint.channels
    if given is not None:
        names = [name.strip() for name in given.split(",")]
        names = names * len(channels) if len(names) == 1 else names
        wrong = [name for name in names if name not in SCHEMES]
        if wrong or len(names) != len(channels):
            raise InputError(
                f"--normalization {given}: take {', '.join(SCHEMES)}, one for all channels or one for each of "
                f"{len(channels)} with commas between."
            )
        return [_of(channel, name) for channel, name in zip(channels, names, strict=True)], "you asked for it"
    plain: Scheme = "nonzero" if _share(fingerprint) < _CROPPED else "zscore"
    names = ["ct" if _is_ct(fingerprint, channel, len(channels)) else plain for channel in channels]
    why = []
    if "ct" in names:
        why.append("Hounsfield units mean the same in every scan, so the foreground of all scans sets the scale")
    if plain in names:
        why.append(
            "intensities have no unit, so each scan sets its own scale"
            + (
                f"; {100 * (1 - _share(fingerprint)):.0f} % of the voxels are 0, no tissue, and count for nothing"
                if plain == "nonzero"
                else ""
            )
        )
    return [_of(channel, name) for channel, name in zip(channels, names, strict=True)], "; ".join(why)


def transforms(schemes: Sequence[Normalization], *, flat: bool = False) -> list[dict[str, Any]]:
    """What a bundle's preprocessing does to the image; of images and clips to each slice."""
    if len(schemes) > 1 or flat:
        channels = [{key: value for key, value in asdict(one).items() if value is not None} for one in schemes]
        found = {"_target_": "uncertaintyseg.data.transforms.NormaliseChannelsd", "channels": channels}
        return [found | ({"by_slice": True} if flat else {})]
    one = schemes[0]
    if one.scheme != "ct":
        return [{"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": one.scheme == "nonzero"}]
    return [
        {
            "_target_": "ScaleIntensityRanged", "keys": "image", "a_min": one.low, "a_max": one.high,
            "b_min": round((one.low - one.mean) / one.std, 6), "b_max": round((one.high - one.mean) / one.std, 6),
            "clip": True,
        }
    ]  # fmt: skip


def _of(channel: ChannelFacts, scheme: Scheme) -> Normalization:
    if scheme != "ct":
        return Normalization(scheme)
    if not (math.isfinite(channel.std) and channel.std > 0 and channel.high > channel.low):
        raise InputError(
            f"channel '{channel.name}': its intensities inside the structures are all alike or unknown, so there is no "
            "scale for CT: take --normalization zscore."
        )
    low, high, mean, std = (float(f"{value:.6g}") for value in (channel.low, channel.high, channel.mean, channel.std))
    return Normalization(scheme, low, high, mean, std)


def _is_ct(fingerprint: Fingerprint, channel: ChannelFacts, channels: int) -> bool:
    named = channel.name.casefold() == "ct"
    return named or (channels == 1 and fingerprint.dataset.modality == "CT")


def _share(fingerprint: Fingerprint) -> float:
    """Median share of a scan that is not 0."""
    whole = np.prod([case.shape for case in fingerprint.cases], axis=1, dtype=np.float64)
    return float(np.median(np.prod(fingerprint.shapes, axis=1, dtype=np.float64) / whole))
