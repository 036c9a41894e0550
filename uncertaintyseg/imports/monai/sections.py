"""What the configuration and the metadata of a foreign MONAI bundle say about windows and structures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from monai.inferers import SlidingWindowInferer

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports.monai.program import Program
from uncertaintyseg.imports.names import plain_names
from uncertaintyseg.imports.options import read_labels, read_numbers
from uncertaintyseg.inference.bundle import METADATA

_OVERLAP = 0.5
_LAYOUTS = {"gaussian": "sliding", "constant": "sliding_constant"}


def windows_of(program: Program, patch: str | None) -> dict[str, Any]:
    """`window`, `overlap` and `layout` of the windows that its inferer runs, or of a patch in their place.

    Raises:
        InputError: for an inferer that has none, or has them in a way that ours cannot follow.
    """
    if patch:
        return {"window": read_numbers(patch, "patch", whole=True), "overlap": _OVERLAP, "layout": "sliding"}
    inferer = program.built("inferer") if "inferer" in program.parser.get() else None
    if not isinstance(inferer, SlidingWindowInferer):
        raise InputError(f"{program.path}: its 'inferer' is no SlidingWindowInferer: add --patch.")
    size, overlap = inferer.roi_size, inferer.overlap
    sizes = [int(side) for side in ([size] * 3 if isinstance(size, int) else size)]
    padding, layout = str(inferer.padding_mode), _LAYOUTS.get(str(inferer.mode))
    odd = padding != "constant" or inferer.cval != 0 or inferer.sigma_scale != 0.125 or layout is None
    if len(sizes) != 3 or min(sizes) < 1 or not isinstance(overlap, int | float) or odd:
        raise InputError(
            f"{program.path}: windows of {sizes} voxels, overlap {overlap}, padding {padding} and weights "
            f"{inferer.mode}: ours have three sizes, one overlap, zeros around and usual weights; --patch sets such."
        )
    return {"window": sizes, "overlap": float(overlap), "layout": layout}


def names_of(program: Program, channels: int, given: str | None) -> list[str]:
    """Names of the structures, from the option or the metadata's "channel_def".

    Raises:
        BundleError: for structures that may overlap.
        InputError: for names that are missing, or more or fewer than the network has.
    """
    if channels > 1 and _activated(program.parser.get("postprocessing"), "sigmoid"):
        raise BundleError(
            f"{program.path}: {channels} sigmoid channels are structures that may overlap; only classes that exclude "
            "each other, or one structure, are imported."
        )
    names = read_labels(given) if given else _named_channels(program.folder, channels)
    if names is None:
        raise InputError(f"{program.folder / METADATA} does not name the structures: add --labels.")
    wanted = max(channels - 1, 1)
    if len(names) != wanted:
        raise InputError(
            f"{program.folder}: the network tells {wanted} structures from the background, and {len(names)} are named: "
            "mend --labels."
        )
    return names


def _named_channels(folder: Path, channels: int) -> list[str] | None:
    try:
        outputs = json.loads((folder / METADATA).read_text(encoding="utf-8"))["network_data_format"]["outputs"]
        names = next(iter(outputs.values()))["channel_def"]
        return plain_names([names[str(i)] for i in range(min(1, channels - 1), channels)], "structure")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None


def _activated(value: Any, kind: str) -> bool:
    """Whether a postprocessing names an activation of this kind; read, not built."""
    if isinstance(value, dict):
        here = str(value.get("_target_", "")).rpartition(".")[2] in {"Activationsd", "Activations"}
        return (here and value.get(kind) is True) or any(_activated(inner, kind) for inner in value.values())
    return isinstance(value, list) and any(_activated(inner, kind) for inner in value)
