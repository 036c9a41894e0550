"""Options of `uncertaintyseg import` that people write as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from uncertaintyseg.errors import InputError
from uncertaintyseg.imports.names import plain_names

NORMALIZATIONS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "zscore": [{"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}],
    "nonzero": [{"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True, "nonzero": True}],
    "unit": [{"_target_": "ScaleIntensityd", "keys": "image", "minv": 0.0, "maxv": 1.0, "channel_wise": True}],
}
"""What is done to intensities, by name: nothing; mean 0 and variance 1 of all voxels, or of those that are not 0; 0 to
1 between the scan's extremes."""
RANGES: dict[str, dict[str, Any]] = {
    "ct": {"_target_": "ScaleIntensityRanged", "a_min": "low", "a_max": "high"},
    "percentile": {
        "_target_": "ScaleIntensityRangePercentilesd", "lower": "low", "upper": "high", "channel_wise": True,
    },
}  # fmt: skip
"""Two intensities, or two percentiles of the scan's, become 0 and 1, and what lies beyond them too."""


def read_labels(text: str) -> list[str]:
    """Names of the structures 1, 2, ...: "liver,spleen", or with their numbers "1=liver,2=spleen".

    Raises:
        InputError: for an empty text, or numbers that are not 1, 2, ...
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InputError("--labels is empty; name the structures in the order of the network's classes: liver,spleen.")
    numbered = [re.fullmatch(r"(\d+)\s*=\s*(.+)", part) for part in parts]
    if any(numbered):
        found = {int(match[1]): match[2] for match in numbered if match}
        if sorted(found) != list(range(1, len(parts) + 1)):
            raise InputError(
                f"--labels '{text}': the classes are numbered 1, 2, ... without gaps; 0 is the background."
            )
        parts = [found[number] for number in sorted(found)]
    return plain_names(parts, "structure")


def read_channels(text: str) -> list[str]:
    """Names of the image channels, in order: "T1,T2".

    Raises:
        InputError: for an empty text.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InputError("--channels is empty; name the image channels in the order that the network takes: T1,T2.")
    return plain_names(parts, "channel")


def read_numbers(text: str, option: str, *, whole: bool = False) -> list[Any]:
    """Three positive numbers, or one for all three axes: "1.5,1.5,2" or "96".

    Raises:
        InputError: for anything else; the message names the option.
    """
    kind = int if whole else float
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) not in (1, 3) or not all(0 < value < 1e6 for value in found):
        example = "whole numbers above 0, such as 96,96,96" if whole else "numbers above 0, such as 1.5,1.5,2"
        raise InputError(f"--{option} '{text}': give three {example}, or one for all axes.")
    return found * 3 if len(found) == 1 else found


def read_normalization(text: str) -> list[dict[str, Any]]:
    """Transforms of the intensities: a name of `NORMALIZATIONS`, or one of `RANGES` with two numbers, "ct:-160,240".

    Raises:
        InputError: for anything else.
    """
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    kind, _, numbers = text.partition(":")
    try:
        low, high = (float(number) for number in numbers.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    inside = kind != "percentile" or 0 <= low < high <= 100
    if kind not in RANGES or not -1e9 < low < high < 1e9 or not inside:
        raise InputError(
            f"--normalization '{text}': choose {', '.join(NORMALIZATIONS)}, or two numbers that become 0 and 1: "
            "intensities as in ct:-160,240, or percentiles as in percentile:1,99."
        )
    ends = {"low": low, "high": high}
    arguments = {key: ends.get(value, value) for key, value in RANGES[kind].items()}
    return [{**arguments, "keys": "image", "b_min": 0.0, "b_max": 1.0, "clip": True}]


def check_given(options: Mapping[str, Any], examples: Mapping[str, str], kind: str) -> None:
    """Refuse an import that lacks options which nothing in the file tells.

    Args:
        options: what was given.
        examples: a value of each option that has to be.
        kind: of file.

    Raises:
        InputError: names all that is missing.
    """
    missing = [f"--{name} {example}" for name, example in examples.items() if options.get(name) is None]
    if missing:
        raise InputError(f"{kind} does not say how it is to be used. Add, for example: {' '.join(missing)}")
