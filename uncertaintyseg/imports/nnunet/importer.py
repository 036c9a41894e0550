"""An nnU-Net training as a model folder of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from uncertaintyseg import __version__
from uncertaintyseg.imports.names import model_name
from uncertaintyseg.imports.nnunet.folder import opened
from uncertaintyseg.imports.nnunet.training import Training, read_training
from uncertaintyseg.imports.palette import as_labels
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.imports.writing import check_free, write_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.measures import MEASURES

_ROOM = "uncertaintyseg.imports."
_PAPER = (
    "Isensee, F. et al. (2021). nnU-Net: a self-configuring method for deep learning-based biomedical image "
    "segmentation. Nature Methods 18, 203-211."
)


def import_model(
    given: Path,
    output: Path,
    name: str | None,
    progress: Progress,
    *,
    fold: str | None = None,
    mirroring: bool = True,
) -> Bundle:
    """Write the model of a trained-model folder.

    Args:
        given: the folder, or a zip of it.
        output: folder of models to write to.
        name: of the model; by default after the data set.
        progress: called with a line of text and the fraction done.
        fold: "all" (also by default), or numbers such as "0,1".
        mirroring: average over mirrored images, as nnU-Net does unless told otherwise.

    Raises:
        BundleError: for what is no training of nnU-Net v2, or none that can be imported.
        InputError: when the name is taken, or the folder cannot be written.
    """
    with opened(given) as found:
        if name:
            check_free(output, name)
        training = read_training(found, fold, lambda text, fraction: progress(text, 0.9 * fraction))
        name = name or default_name(str(found.plans.get("dataset_name") or ""), training)
        progress("writing the model", 0.9)
        return write_model(
            output,
            name,
            metadata=metadata(training, name),
            inference=inference_config(training, mirrors=training.mirroring or () if mirroring else ()),
            training=training_config(training),
            network=training.network,
        )


def default_name(dataset: str, training: Training) -> str:
    """`<data set>_nnunet`, with the configuration where it is not the usual one."""
    plain = re.sub(r"^Dataset\d+_", "", dataset)
    configuration = training.configuration.name
    return model_name(plain, "nnunet", "" if configuration == "3d_fullres" else configuration)


def inference_config(training: Training, *, mirrors: tuple[int, ...] = (), overlap: float = 0.5) -> dict[str, Any]:
    """The inference.json of a training: numbers, and names from lists.

    Args:
        training: as read.
        mirrors: axes over which mirrored images are averaged.
        overlap: of windows, 1 - nnU-Net's step.
    """
    plan, labels = training.configuration, training.labels
    classes = len(labels.names) + 1
    network: dict[str, Any] = {
        "_target_": "uncertaintyseg.segmenter.Segmenter",
        "backbone": {
            "_target_": f"{_ROOM}nnunet.backbone.UNetBackbone",
            "in_channels": len(training.channels),
            **training.architecture.model_dump(exclude_none=True),
        },
        "head": "deterministic",
        "classes": classes,
    }
    if labels.regions:
        network |= {"_target_": f"{_ROOM}nnunet.regions.RegionSegmenter", "regions": labels.regions}
    if len(training.folds) > 1:
        network = {"_target_": f"{_ROOM}members.Folds", "network": network, "count": len(training.folds)}
    preprocess = {
        "_target_": f"{_ROOM}nnunet.preprocessing.Preprocess",
        "labels": {label: number for number, label in enumerate(labels.names, start=1)},
        "spacing": "@spacing",
        "transpose": list(plan.transpose_forward),
        "to_ras": plan.to_ras,
        "schemes": plan.normalization_schemes,
        "masked": plan.use_mask_for_norm,
        "intensities": {channel: values.model_dump() for channel, values in plan.intensities.items()},
        "data": plan.data.model_dump(),
        "segmentation": plan.segmentation.model_dump(),
        "probabilities": plan.probabilities.model_dump(),
        **({} if labels.ignore is None else {"ignore": labels.ignore}),
    }
    return {
        "bundle_root": ".",
        "dataset_dir": "",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "cpu",
        "spacing": list(plan.spacing),
        "window": list(plan.patch_size),
        "overlap": overlap,
        "layout": "nnunet",
        "average": "logits",
        "mirrors": list(mirrors),
        **({} if training.mirroring is None else {"symmetries": list(training.mirroring)}),
        **({"channels": training.channels} if len(training.channels) > 1 else {}),
        **({"regions": labels.regions} if labels.regions else {}),
        "network_def": network,
        "preprocessing": {"_target_": "Compose", "transforms": [preprocess]},
        "predictor": {
            "_target_": "uncertaintyseg.inference.predictor.Predictor", "bundle": "@bundle_root", "device": "@device",
        },
        "run": ["$@predictor.predict_folder(@dataset_dir, @output_dir)"],
    }  # fmt: skip


def metadata(training: Training, name: str) -> dict[str, Any]:
    """The metadata.json of a training. Whatever stands in it, nothing of it is evaluated."""
    labels = training.labels
    structures = [f"{kind}_{item}" for item in labels.names for kind in ("probability", "variance")]
    folds = f"fold {training.folds[0]}" if len(training.folds) == 1 else f"{len(training.folds)} folds"
    return {
        "version": "0.1.0",
        "name": name,
        "task": f"Segmentation of {', '.join(labels.names[:8])}",
        "description": f"Imported from nnU-Net: {training.configuration.name}, {folds}, {training.trainer}.",
        "authors": "see where the network came from",
        "required_packages_version": {"uncertaintyseg": __version__},
        "intended_use": "Research and teaching. Not for clinical decisions.",
        "references": [_PAPER],
        "uncertainty": {
            "task": name,
            "head": "deterministic",
            "maps": [*MEASURES, *structures],
            "labels": [label.model_dump() for label in as_labels(labels.names)],
            "modality": training.modality,
            **({} if labels.ignore is None else {"ignore": labels.ignore}),
            "origin": {
                "source": "nnunet",
                "folder": training.name,
                "folds": training.folds,
                "trainer": training.trainer,
                "configuration": training.configuration.name,
                "checkpoint_sha256": training.checkpoint_sha256,
                "renamed": labels.renamed,
                "trusted": False,
            },
        },
    }


def training_config(training: Training) -> dict[str, Any]:
    """The train.json from which heads on this network take crop and augmentation."""
    both = {"keys": ["image", "label"]}
    flips = [
        {"_target_": "RandFlipd", **both, "spatial_axis": axis, "prob": 0.5} for axis in training.mirroring or ()
    ]  # fmt: skip
    return {
        "recipe": {
            "stage": "head",
            "backbone": "frozen",
            "crop": list(training.configuration.patch_size),
            "batch_size": 2,
            "seed": 0,
        },
        "crop": "@recipe#crop",
        "augmentation": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "SpatialPadd", **both, "spatial_size": "@crop"},
                {"_target_": "RandSpatialCropd", **both, "roi_size": "@crop", "random_size": False},
                *flips,
            ],
        },
    }
