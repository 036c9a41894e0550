"""Intensities as nnU-Net gives them to a network: one scheme a channel (NETWORKS 1.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from uncertaintyseg.errors import BundleError, InputError

_EPS = 1e-8


def normalise(
    image: np.ndarray,
    mask: np.ndarray,
    schemes: Sequence[str],
    masked: Sequence[bool],
    intensities: Mapping[str, Mapping[str, float]],
) -> np.ndarray:
    """Normalise each channel by its own scheme.

    Args:
        image: float32 `[channels, *S]`; changed in place.
        mask: bool `[*S]`, the hole-filled non-zero part.
        schemes: name of a scheme for each channel.
        masked: for each channel, whether z-scores are those of the mask, and what is outside stays as it is.
        intensities: by number of the channel, what the foreground of the training scans looked like.

    Returns:
        The image.

    Raises:
        BundleError: for an unknown scheme.
        InputError: for a scan whose intensities cannot be those of the scheme.
    """
    for channel, (scheme, inside) in enumerate(zip(schemes, masked, strict=True)):
        if scheme not in _SCHEMES:
            raise BundleError(f"the normalisation '{scheme}' is not known; known are {', '.join(_SCHEMES)}.")
        _SCHEMES[scheme](image[channel], mask if inside else None, intensities.get(str(channel), {}))
    return image


def _ct(image: np.ndarray, _mask: np.ndarray | None, known: Mapping[str, float]) -> None:
    np.clip(image, known["percentile_00_5"], known["percentile_99_5"], out=image)
    image -= known["mean"]
    image /= max(known["std"], _EPS)


def _z_score(image: np.ndarray, mask: np.ndarray | None, _known: Mapping[str, float]) -> None:
    if mask is not None:
        values = image[mask]
        image[mask] = (values - values.mean()) / max(values.std(), _EPS)
        return
    mean, std = image.mean(), image.std()
    image -= mean
    image /= max(std, _EPS)


def _none(_image: np.ndarray, _mask: np.ndarray | None, _known: Mapping[str, float]) -> None:
    """As it is."""


def _to_unit_range(image: np.ndarray, _mask: np.ndarray | None, _known: Mapping[str, float]) -> None:
    image -= image.min()
    image /= max(image.max(), _EPS)


def _colour(image: np.ndarray, _mask: np.ndarray | None, _known: Mapping[str, float]) -> None:
    if image.min() < 0 or image.max() > 255:
        raise InputError("the scan is no colour channel: this model takes values from 0 to 255.")
    image /= 255.0


_SCHEMES: dict[str, Callable[[np.ndarray, np.ndarray | None, Mapping[str, float]], None]] = {
    "CTNormalization": _ct,
    "ZScoreNormalization": _z_score,
    "NoNormalization": _none,
    "RescaleTo01Normalization": _to_unit_range,
    "RGBTo01Normalization": _colour,
}
