"""The files of an imported model's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uncertaintyseg import __version__
from uncertaintyseg.imports.palette import as_labels
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.wire import Modality


def metadata(
    name: str, description: str, labels: Sequence[str], origin: Mapping[str, Any], modality: Modality | None = None
) -> dict[str, Any]:
    """A metadata.json. Whatever stands in it, nothing of it is evaluated.

    Args:
        name: of the model.
        description: one line for people.
        labels: names of the structures 1, 2, ...
        origin: where it came from.
        modality: of the scans it was made for.
    """
    structures = [f"{kind}_{item}" for item in labels for kind in ("probability", "variance")]
    return {
        "version": "0.1.0",
        "name": name,
        "task": f"Segmentation of {', '.join(labels[:8])}",
        "description": description,
        "authors": "see where the network came from",
        "required_packages_version": {"uncertaintyseg": __version__},
        "intended_use": "Research and teaching. Not for clinical decisions.",
        "uncertainty": {
            "task": name,
            "head": "deterministic",
            "maps": [*MEASURES, *structures],
            "labels": [label.model_dump() for label in as_labels(labels)],
            "modality": modality,
            "origin": dict(origin),
        },
    }


def inference(
    *,
    spacing: Sequence[float],
    window: Sequence[int],
    overlap: float,
    network: Mapping[str, Any],
    preprocessing: Sequence[Mapping[str, Any]],
    channels: Sequence[str] = (),
    **settings: Any,
) -> dict[str, Any]:
    """An inference.json: a network without a head of ours, whose logits are averaged (docs/adr/0011).

    Args:
        spacing: of the grid, mm.
        window: size in voxels.
        overlap: of windows.
        network: what makes the network.
        preprocessing: what makes each of its transforms.
        channels: names of the image channels.
        settings: further plain values.
    """
    return {
        "bundle_root": ".",
        "dataset_dir": "",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "cpu",
        "spacing": list(spacing),
        "window": list(window),
        "overlap": overlap,
        "average": "logits",
        **({"channels": list(channels)} if len(channels) > 1 else {}),
        **settings,
        "network_def": dict(network),
        "preprocessing": {"_target_": "Compose", "transforms": [dict(transform) for transform in preprocessing]},
        "predictor": {
            "_target_": "uncertaintyseg.inference.predictor.Predictor", "bundle": "@bundle_root", "device": "@device",
        },
        "run": ["$@predictor.predict_folder(@dataset_dir, @output_dir)"],
    }  # fmt: skip


def segmenter(backbone: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """What makes a network of a backbone and its own output layer; C `classes`, background included."""
    return {
        "_target_": "uncertaintyseg.segmenter.Segmenter",
        "backbone": dict(backbone),
        "head": "deterministic",
        "classes": classes,
    }


def training(crop: Sequence[int], flips: Sequence[int] = ()) -> dict[str, Any]:
    """A train.json from which heads on a network take crop and augmentation.

    Args:
        crop: training window in voxels.
        flips: axes over which the network was trained on mirrored images.
    """
    both = {"keys": ["image", "label"]}
    return {
        "recipe": {"stage": "head", "backbone": "frozen", "crop": list(crop), "batch_size": 2, "seed": 0},
        "crop": "@recipe#crop",
        "augmentation": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "SpatialPadd", **both, "spatial_size": "@crop"},
                {"_target_": "RandSpatialCropd", **both, "roi_size": "@crop", "random_size": False},
                *({"_target_": "RandFlipd", **both, "spatial_axis": axis, "prob": 0.5} for axis in flips),
            ],
        },
    }
