"""Model folders, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, TRAINING, WEIGHTS, Bundle
from uncertaintyseg.inference.new_model import write_new_model
from uncertaintyseg.inference.weights import save_weights


def check_free(output: Path, name: str) -> None:
    """Raise `InputError` when there is a model of that name in the folder already; before long work."""
    if (output / name).exists():
        raise InputError(
            f"{output} has a model '{name}' already: choose another --name, or `uncertaintyseg models remove {name}`."
        )


def write_model(
    output: Path,
    name: str,
    *,
    metadata: Mapping[str, Any],
    inference: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    network: nn.Module | None = None,
    fill: Callable[[Path], None] = lambda folder: None,
) -> Bundle:
    """Write a model folder beside the others and move it into place at the end, once it can be read.

    Args:
        output: folder of models; made where it is missing.
        name: of the new one.
        metadata: metadata.json, with an "uncertainty" section.
        inference: inference.json.
        training: train.json, for a model that heads can be trained on.
        network: whose tensors are written, in the precision they have; None for a model whose parts write their own.
        fill: writes what else belongs into the folder.

    Raises:
        InputError: when the name is taken, or the folder cannot be written.
        BundleError: when what was written is no model, which is a mistake of the importer's.
    """
    check_free(output, name)

    def write(folder: Path) -> None:
        write_files(folder, metadata=metadata, inference=inference, training=training, network=network)
        fill(folder)

    return write_new_model(output, name, write, check=lambda: check_free(output, name))


def write_files(
    folder: Path,
    *,
    metadata: Mapping[str, Any],
    inference: Mapping[str, Any],
    training: Mapping[str, Any] | None = None,
    network: nn.Module | None = None,
) -> None:
    """The files of a model into a folder that nobody looks at yet; arguments as of `write_model`."""
    for part, config in ((METADATA, metadata), (INFERENCE, inference), (TRAINING, training)):
        if config is not None:
            write_bytes(folder / part, (json.dumps(config, indent=2) + "\n").encode())
    if network is not None:
        save_weights(network, folder / WEIGHTS, exact=True)
