"""A folder of SAM as a model folder: asked for structures that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from uncertaintyseg.backbones import PromptedBackbone
from uncertaintyseg.backbones.sam import FAMILIES, Scaling
from uncertaintyseg.data.viewed import AsViewedd, checked_plane
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import configs
from uncertaintyseg.imports.checkpoint import file_sha256
from uncertaintyseg.imports.hugging_face import CONFIG
from uncertaintyseg.imports.names import model_name, plain
from uncertaintyseg.imports.options import read_labels, read_normalization
from uncertaintyseg.imports.sam.folder import read_config, read_network
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.imports.stock import read_out
from uncertaintyseg.imports.writing import check_free, write_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.segmenter import Segmenter

OPTIONS = ("labels", "normalization", "plane", "like")
SOURCE = "sam"
IMAGES = "images"
"""In place of a plane: a model of images and clips."""
LIKES: dict[str, tuple[Scaling, bool]] = {"medsam": ("unit", False)}
"""What `--like` may name: scaling, and whether pictures keep their shape. MedSAM's file says that it is a SAM."""
_WINDOW = [4096, 4096, 1]
"""Slices are taken whole up to this size."""
_PERCENTILES = "percentile:0.5,99.5"


def recognises(given: Path) -> bool:
    """Whether it is a folder as `transformers` writes one, of whatever network."""
    if not given.is_dir() or (given / "configs").is_dir():
        return False
    return any(
        path for pattern in (CONFIG, "model*.safetensors*", "pytorch_model*.bin") for path in given.glob(pattern)
    )


def import_model(
    given: Path,
    output: Path,
    name: str | None,
    progress: Progress,
    *,
    labels: str | None = None,
    normalization: str = _PERCENTILES,
    plane: str | None = None,
    like: str | None = None,
) -> Bundle:
    """Write a model of a folder of `transformers`.

    Args:
        given: the folder.
        output: folder of models to write to.
        name: of the model; by default after the folder.
        progress: called with a line of text and the fraction done.
        labels: names of the structures that it may be asked for; by default one, "structure".
        normalization: what makes 0..1 of a scan's intensities, as of `read_normalization`; by default its percentiles
            0.5 and 99.5 (MedSAM takes those of voxels that are not 0, of all but CT).
        plane: of the slices; "images" for a model of images and clips; None: that of a volume's thickest slices.
        like: "medsam": slices are stretched to a square and scaled to 0..1 each, as it was trained.

    Raises:
        BundleError: for a folder that cannot be used.
        InputError: for an option of no use.
    """
    name = name or model_name(given.resolve().name)
    check_free(output, name)
    family, config = read_config(given)
    scaling, padded = _like(like, family)
    names = read_labels(labels or "structure")
    flat = plane == IMAGES
    view = None if flat else checked_plane(plane)
    intensities = read_normalization(normalization)
    if normalization != "unit" and not normalization.startswith(("ct:", "percentile:")):
        raise InputError(f"--normalization '{normalization}': SAM takes 0..1: choose unit, ct:LOW,HIGH or percentile:.")
    progress("reading the weights", 0.1)
    network = read_network(given, family)
    about: dict[str, Any] = {"family": family, "config": config, "structures": len(names), "scaling": scaling}
    if padded is not None:
        about["padded"] = padded
    backbone = _filled(about, network, given)
    segmenter = Segmenter(backbone, "deterministic", len(names) + 1)
    read_out(segmenter.head.mean, None)
    title, kind = plain(given.resolve().name, "folder"), "MedSAM" if like else FAMILIES[family].title
    files = sorted(given.glob("*.safetensors"))
    origin = {
        "source": SOURCE, "folder": title, "architecture": kind, "plane": plane, "trusted": False,
        "checkpoint_sha256": [file_sha256(path) for path in files],
    }  # fmt: skip
    metadata = configs.metadata(name, f"{kind} of {title}: segments what boxes and points ask for.", names, origin)
    metadata["uncertainty"]["dimensions"] = 2 if flat else 3
    view_target, target = (f"{made.__module__}.{made.__name__}" for made in (AsViewedd, PromptedBackbone))
    return write_model(
        output,
        name,
        metadata=metadata,
        inference=configs.inference(
            spacing=[1.0, 1.0, 1.0],
            window=_WINDOW,
            overlap=0.0,
            network=configs.segmenter({"_target_": target, **about}, len(names) + 1),
            preprocessing=[
                {
                    "_target_": "uncertaintyseg.data.transforms.ReadCased",
                    "labels": {label: number for number, label in enumerate(names, start=1)},
                },
                *intensities,
                {"_target_": view_target, "plane": view},
            ],
            symmetries=[0, 1],
        ),
        network=segmenter,
    )


def _filled(about: dict[str, Any], network: torch.nn.Module, given: Path) -> PromptedBackbone:
    """The backbone with the weights of the network that was read."""
    backbone = PromptedBackbone(**about)
    wanted, found = backbone.network.model.state_dict(), network.state_dict()
    if {name: value.shape for name, value in wanted.items()} != {name: value.shape for name, value in found.items()}:
        raise BundleError(f"{given / CONFIG} makes another network than it says: copy it again from its publisher.")
    backbone.network.model.load_state_dict(found)
    with torch.inference_mode():
        try:
            backbone.network.encode(torch.rand(backbone.network.size, backbone.network.size))
        except (RuntimeError, ValueError) as error:
            raise BundleError(
                f"{given / CONFIG}: its encoder takes images of another size than its prompts are counted in "
                f"({backbone.network.size} pixels): {str(error)[:120]}"
            ) from error
    return backbone


def _like(like: str | None, family: str) -> tuple[Scaling, bool | None]:
    if like is None:
        return "imagenet", None
    if like not in LIKES or family != "sam":
        raise InputError(f"--like '{like}': choose {', '.join(LIKES)}, of a folder of SAM; else leave it out.")
    return LIKES[like]
