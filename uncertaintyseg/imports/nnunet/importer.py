"""An nnU-Net training as a model folder of ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from uncertaintyseg.imports import configs
from uncertaintyseg.imports.names import model_name
from uncertaintyseg.imports.nnunet.folder import opened
from uncertaintyseg.imports.nnunet.training import Training, read_training
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.imports.writing import check_free, write_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.wire import ChannelRange

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
    network = configs.segmenter(
        {
            "_target_": f"{_ROOM}nnunet.backbone.UNetBackbone",
            "in_channels": len(training.channels),
            **training.architecture.model_dump(exclude_none=True),
        },
        len(labels.names) + 1,
    )
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
        "intensities": {channel: values.model_dump(exclude={"median"}) for channel, values in plan.intensities.items()},
        "data": plan.data.model_dump(),
        "segmentation": plan.segmentation.model_dump(),
        "probabilities": plan.probabilities.model_dump(),
        **({} if labels.ignore is None else {"ignore": labels.ignore}),
    }
    return configs.inference(
        spacing=plan.spacing,
        window=plan.patch_size,
        overlap=overlap,
        network=network,
        preprocessing=[preprocess],
        channels=training.channels,
        layout="nnunet",
        mirrors=list(mirrors),
        **({} if training.mirroring is None else {"symmetries": list(training.mirroring)}),
        **({"regions": labels.regions} if labels.regions else {}),
    )


def metadata(training: Training, name: str) -> dict[str, Any]:
    """The metadata.json of a training. Whatever stands in it, nothing of it is evaluated."""
    labels = training.labels
    folds = f"fold {training.folds[0]}" if len(training.folds) == 1 else f"{len(training.folds)} folds"
    origin = {
        "source": "nnunet",
        "folder": training.name,
        "folds": training.folds,
        "trainer": training.trainer,
        "configuration": training.configuration.name,
        "checkpoint_sha256": training.checkpoint_sha256,
        "renamed": labels.renamed,
        "trusted": False,
    }
    text = f"Imported from nnU-Net: {training.configuration.name}, {folds}, {training.trainer}."
    about = configs.metadata(name, text, labels.names, origin, training.modality) | {"references": [_PAPER]}
    if labels.ignore is not None:
        about["uncertainty"]["ignore"] = labels.ignore
    if ranges := _channel_ranges(training):
        about["uncertainty"]["channel_ranges"] = ranges
    return about


def _channel_ranges(training: Training) -> list[dict[str, Any]]:
    """What tells the channels from one another, where there are several and the plans know all of them."""
    known = [training.configuration.intensities.get(str(number)) for number in range(len(training.channels))]
    if len(known) == 1 or not all(known):
        return []
    return [
        ChannelRange(
            name=name,
            low=values.percentile_00_5,
            median=values.mean if values.median is None else values.median,
            high=values.percentile_99_5,
        ).model_dump()
        for name, values in zip(training.channels, known, strict=True)
    ]


def training_config(training: Training) -> dict[str, Any]:
    """The train.json from which heads on this network take crop and augmentation."""
    return configs.training(training.configuration.patch_size, training.mirroring or ())
