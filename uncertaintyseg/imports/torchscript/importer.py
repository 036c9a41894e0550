"""A TorchScript file as a model folder of ours."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, get_args

import torch

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import configs
from uncertaintyseg.imports.checkpoint import file_sha256
from uncertaintyseg.imports.names import model_name, plain
from uncertaintyseg.imports.options import check_given, read_channels, read_labels, read_normalization, read_numbers
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.imports.stock import Activation, read_out
from uncertaintyseg.imports.torchscript.backbone import SCRIPT, ScriptBackbone, from_torchscript
from uncertaintyseg.imports.writing import check_free, write_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.segmenter import Segmenter

_EXAMPLES = {
    "labels": "1=liver,2=spleen", "spacing": "1.5,1.5,2", "patch": "96,96,96", "normalization": "zscore",
    "activation": "none",
}  # fmt: skip
OPTIONS = (*_EXAMPLES, "channels")
_OVERLAP = 0.5


def recognises(given: Path) -> bool:
    """Whether it is a file named as TorchScript is."""
    return given.suffix.lower() in {".ts", ".pt", ".pth", ".torchscript"} and given.is_file()


def import_model(
    given: Path, output: Path, name: str | None, progress: Progress, *, channels: str = "image", **options: Any
) -> Bundle:
    """Write the model of a TorchScript file, which sees scans with their axes towards right, front and up.

    Args:
        given: the file.
        output: folder of models to write to.
        name: of the model; by default after the file.
        progress: called with a line of text and the fraction done.
        channels: names of the image channels.
        options: `labels`, `spacing` (mm), `patch` (voxels), `normalization` and `activation`, as texts.

    Raises:
        BundleError: for what is no TorchScript, or a network that does not answer a patch.
        InputError: for an option that is missing or wrong, a name that is taken, or a folder that cannot be written.
    """
    check_given(options, _EXAMPLES, f"{given}: a TorchScript file")
    labels, images = read_labels(options["labels"]), read_channels(channels)
    spacing, patch = read_numbers(options["spacing"], "spacing"), read_numbers(options["patch"], "patch", whole=True)
    normalization, activation = read_normalization(options["normalization"]), options["activation"]
    if activation not in get_args(Activation):
        raise InputError(f"--activation is '{activation}'; choose {', '.join(get_args(Activation))}.")
    name = name or model_name(given.stem)
    check_free(output, name)
    progress("running the network once", 0.1)
    about = {"in_channels": len(images), "divisor": patch, "activation": activation}
    about["channels"] = _answered(given, about, patch, labels)
    network = Segmenter(ScriptBackbone(given, **about), "deterministic", len(labels) + 1)
    read_out(network.head.mean, None)
    progress("writing the model", 0.8)
    title = plain(given.name, "model.ts")
    origin = {
        "source": "torchscript", "folder": title, "checkpoint_sha256": [file_sha256(given)], "trusted": False,
    }  # fmt: skip
    backbone = {
        "_target_": f"{ScriptBackbone.__module__}.ScriptBackbone",
        "script": f"$@bundle_root + '/{SCRIPT.as_posix()}'",
        **about,
    }
    return write_model(
        output,
        name,
        metadata=configs.metadata(name, f"Imported from the TorchScript file {title}.", labels, origin),
        inference=configs.inference(
            spacing=spacing,
            window=patch,
            overlap=_OVERLAP,
            network=configs.segmenter(backbone, len(labels) + 1),
            preprocessing=[*_onto_grid(labels, len(images)), *normalization],
            channels=images,
            layout="sliding",
        ),
        training=configs.training(patch),
        network=network,
        fill=lambda folder: shutil.copyfile(given, folder / SCRIPT) and None,
    )


def _onto_grid(labels: list[str], channels: int) -> list[dict[str, Any]]:
    """Transforms from a scan, and its label, to the network's grid."""
    both = {"keys": ["image", "label"], "allow_missing_keys": True}
    ids = {label: number for number, label in enumerate(labels, start=1)}
    return [
        {"_target_": "uncertaintyseg.data.transforms.ReadCased", "labels": ids, "channels": channels},
        {"_target_": "Orientationd", "axcodes": "RAS", "labels": [["L", "R"], ["P", "A"], ["I", "S"]], **both},
        {"_target_": "Spacingd", "pixdim": "@spacing", "mode": ["bilinear", "nearest"], **both},
    ]


def _answered(given: Path, about: dict[str, Any], patch: list[int], labels: list[str]) -> int:
    """Channels of its answer to a patch of noise, where they fit the labels."""
    network = from_torchscript(given, divisor=about["divisor"], activation=about["activation"])
    sizes = " x ".join(map(str, patch))
    try:
        with torch.no_grad():
            found = network(torch.rand(1, about["in_channels"], *patch)).distribution.mean.shape[1]
    except (RuntimeError, InputError) as error:
        reason = str(error).strip().split("\n")[-1][:200]
        raise BundleError(
            f"{given}: the network does not answer {about['in_channels']} channel(s) of {sizes} voxels as it should: "
            f"mend --patch, --channels or --activation. ({reason})"
        ) from error
    if found != len(labels) + 1 and (found, len(labels)) != (1, 1):
        raise InputError(
            f"{given}: the network has {found} output channels; --labels names {len(labels)} structures, so it should "
            f"have {len(labels) + 1}{' or 1' if len(labels) == 1 else ''}, the background first."
        )
    return found
