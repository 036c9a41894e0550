"""A bundle of MONAI's Model Zoo, or one like it, as a model folder of ours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from uncertaintyseg.backbones.cut import output_layer
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import configs
from uncertaintyseg.imports.monai.network import (
    backbone_of,
    foreign_backbone,
    load_bundle_weights,
    network_of,
    read_divisor,
)
from uncertaintyseg.imports.monai.preprocessing import ForeignPreprocessing, own_transforms, spacing_of
from uncertaintyseg.imports.monai.program import FOREIGN, Program, check_alone, first_line, program_in
from uncertaintyseg.imports.monai.sections import names_of, windows_of
from uncertaintyseg.imports.names import model_name, plain
from uncertaintyseg.imports.options import read_numbers
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.imports.stock import StockNetwork, read_out
from uncertaintyseg.imports.writing import check_free, write_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.content import content_hash
from uncertaintyseg.segmenter import Segmenter

OPTIONS = ("trust", "labels", "spacing", "patch")


def recognises(given: Path) -> bool:
    """Whether it is a folder with the configuration of a MONAI bundle."""
    return program_in(given) is not None


def import_model(
    given: Path,
    output: Path,
    name: str | None,
    progress: Progress,
    *,
    trust: bool = False,
    labels: str | None = None,
    spacing: str | None = None,
    patch: str | None = None,
) -> Bundle:
    """Write the model of a MONAI bundle, once a person has trusted what its configuration runs.

    Args:
        given: folder of the bundle.
        output: folder of models to write to.
        name: of the model; by default after the bundle.
        progress: called with a line of text and the fraction done.
        trust: without it the bundle is refused, with a list of what it would run.
        labels: names of its structures, where its metadata has none.
        spacing: voxel sizes of its grid in mm, where its preprocessing sets none.
        patch: size of its windows in voxels, where its inferer has none.

    Raises:
        BundleError: for a bundle that was not trusted, or cannot be imported.
        InputError: for an option that is wrong, a name that is taken, or a folder that cannot be written.
    """
    program = Program(given)
    runs = program.runs()
    check_alone(program)
    if not trust:
        listed = "\n".join(f"  {item}" for item in runs)
        raise BundleError(
            f"{given}: a MONAI bundle is a program. This one would run\n{listed}\n"
            "Add --trust if you trust whoever made it; what it runs is recorded, and never runs in another version."
        )
    name = name or model_name(given.resolve().name)
    check_free(output, name)
    progress("loading the network", 0.1)
    network = network_of(program)
    weights = load_bundle_weights(network, program)
    windows = windows_of(program, patch)
    transforms = own_transforms(program)
    grid = read_numbers(spacing, "spacing") if spacing else spacing_of(transforms)
    if grid is None:
        raise InputError(f"{program.path}: its preprocessing sets no voxel size: add --spacing.")
    progress("tracing the network", 0.4)
    about = {"divisor": list(read_divisor(given) or windows["window"]), **_traced(network, program, windows["window"])}
    names = names_of(program, about["channels"], labels)
    layer = None if about["layer"] is None else network.get_submodule(about["layer"])
    made = Segmenter(backbone_of(network, **about), "deterministic", len(names) + 1)
    read_out(made.head.mean, layer)
    progress("writing the model", 0.8)
    origin = {
        "source": "monai_bundle",
        "folder": plain(given.resolve().name, "bundle"),
        "checkpoint_sha256": [content_hash(weights)],
        "layer": about["layer"],
        "trusted": True,
        "program_sha256": program.sha256,
        "runs": runs,
    }
    backbone = {"_target_": f"{foreign_backbone.__module__}.foreign_backbone", "folder": "@bundle_root", **about}
    transform = f"{ForeignPreprocessing.__module__}.{ForeignPreprocessing.__name__}"

    def keep_program(folder: Path) -> None:
        kept = folder / FOREIGN / "configs" / program.path.name
        kept.parent.mkdir(parents=True)
        shutil.copyfile(program.path, kept)

    return write_model(
        output,
        name,
        metadata=configs.metadata(name, f"Imported from the MONAI bundle {origin['folder']}.", names, origin),
        inference=configs.inference(
            spacing=grid,
            **windows,
            network=configs.segmenter(backbone, len(names) + 1),
            preprocessing=[{"_target_": transform, "folder": "@bundle_root"}],
        ),
        training=configs.training(windows["window"]),
        network=made,
        fill=keep_program,
    )


def _traced(network: nn.Module, program: Program, window: list[int]) -> dict[str, Any]:
    """Output layer and channels of a network, by running it on noise."""
    image = torch.rand(1, 1, *window)
    try:
        with torch.no_grad():
            channels = StockNetwork(network)(image).distribution.mean.shape[1]
            layer = output_layer(network, image)
    except (RuntimeError, ValueError, InputError) as error:
        raise BundleError(
            f"{program.path}: the network does not answer one channel of {' x '.join(map(str, window))} voxels; only "
            f"networks of one image channel are imported, and --patch sets their windows. ({first_line(error)[:200]})"
        ) from error
    if layer is not None and layer != plain(layer, ""):
        layer = None
    return {"layer": layer, "channels": channels}
