"""An nnU-Net training read and checked: one network for all folds, and what its files say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.checkpoint import file_sha256, load_strictly, plain_state, read_checkpoint
from uncertaintyseg.imports.members import Folds
from uncertaintyseg.imports.names import plain_names
from uncertaintyseg.imports.nnunet.architecture import Architecture, read_architecture
from uncertaintyseg.imports.nnunet.backbone import UNetBackbone, build_network
from uncertaintyseg.imports.nnunet.folder import TrainedFolder
from uncertaintyseg.imports.nnunet.labels import Labels, read_labels
from uncertaintyseg.imports.nnunet.plans import Configuration, read_configuration
from uncertaintyseg.imports.nnunet.regions import RegionSegmenter
from uncertaintyseg.imports.source import Progress
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.wire import Modality

_MR = {"mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "adc", "dwi", "pd", "swi"}


@dataclass(frozen=True)
class Training:
    """What is known of an nnU-Net training.

    Attributes:
        name: of its folder, for people.
        configuration: of its plans.
        architecture: of its network.
        labels: of its data set.
        channels: names of the image channels.
        trainer: name of the trainer's class.
        mirroring: axes of the grid over which mirrored images were trained on; none if empty, None if unknown.
        folds: names of those that `network` has.
        checkpoint_sha256: of each fold's file.
        network: a `Segmenter`, or `Folds` of several.
    """

    name: str
    configuration: Configuration
    architecture: Architecture
    labels: Labels
    channels: list[str]
    trainer: str
    mirroring: tuple[int, ...] | None
    folds: list[str]
    checkpoint_sha256: list[str]
    network: nn.Module

    @property
    def modality(self) -> Modality | None:
        """Of the scans, where the channels' names tell."""
        names = {name.casefold() for name in self.channels}
        if names == {"ct"}:
            return "CT"
        return "MR" if names and names <= _MR else None


@dataclass(frozen=True)
class _Checkpoint:
    """What one fold's file says."""

    path: Path
    weights: Mapping[str, Tensor]
    trainer: str
    configuration: str
    mirroring: tuple[int, ...] | None


def read_training(found: TrainedFolder, folds: str | None, progress: Progress) -> Training:
    """Read the checkpoints of some folds and build what they hold weights of.

    Args:
        found: the files.
        folds: as of `TrainedFolder.chosen`.
        progress: called with a line of text and the fraction done.

    Raises:
        BundleError: for anything that is missing, unknown, damaged or does not fit together.
    """
    labels = read_labels(found.dataset)
    channels = _channels(found.dataset)
    chosen = found.chosen(folds)
    networks: list[Segmenter] = []
    digests: list[str] = []
    for number, (fold, path) in enumerate(chosen.items()):
        progress(f"reading fold {fold}", number / len(chosen))
        own = _read_checkpoint(path)
        if not networks:
            first = own
            configuration = read_configuration(found.plans, own.configuration)
            architecture = read_architecture(configuration.architecture, own.trainer)
            if len(configuration.normalization_schemes) != len(channels):
                raise BundleError(
                    f"dataset.json names {len(channels)} channels, plans.json normalises "
                    f"{len(configuration.normalization_schemes)}: take both from the same training."
                )
        elif (own.trainer, own.configuration, own.mirroring) != (first.trainer, first.configuration, first.mirroring):
            raise BundleError(f"{first.path.parent.name} and fold_{fold} are of different trainings: import one.")
        networks.append(_segmenter(own, architecture, labels, len(channels)))
        digests.append(file_sha256(path))
    network = networks[0] if len(networks) == 1 else Folds.of(networks)
    return Training(
        found.name, configuration, architecture, labels, channels, first.trainer, first.mirroring, list(chosen),
        digests, network,
    )  # fmt: skip


def _read_checkpoint(path: Path) -> _Checkpoint:
    content = read_checkpoint(path)
    init = content.get("init_args")
    trainer, configuration = content.get("trainer_name"), init.get("configuration") if isinstance(init, dict) else None
    if "network_weights" not in content or not isinstance(trainer, str) or not isinstance(configuration, str):
        raise BundleError(
            f"{path.name} in {path.parent.name} is no checkpoint of nnU-Net v2: it lacks 'network_weights', "
            "'trainer_name' or the configuration in 'init_args'."
        )
    unknown = "inference_allowed_mirroring_axes" not in content
    axes = content.get("inference_allowed_mirroring_axes") or ()
    if not isinstance(axes, list | tuple) or not set(axes) <= {0, 1, 2}:
        raise BundleError(f"{path.name} in {path.parent.name}: mirroring axes {axes!r}; axes are 0, 1 and 2.")
    mirroring = None if unknown and "NoMirroring" not in trainer else tuple(sorted(axes))
    weights = plain_state(content["network_weights"], path)
    return _Checkpoint(path, weights, trainer, configuration, mirroring)


def _segmenter(own: _Checkpoint, architecture: Architecture, labels: Labels, channels: int) -> Segmenter:
    """The network of a checkpoint, its last segmentation layer as the head's mean."""
    layers = {int(n.split(".")[2]) for n in own.weights if n.startswith("decoder.seg_layers.") and n.count(".") == 3}
    last = f"decoder.seg_layers.{max(layers, default=0)}"
    weight = own.weights.get(f"{last}.weight")
    if weight is not None and len(weight) != labels.channels:
        kind = "regions" if labels.regions else "classes with the background"
        raise BundleError(
            f"{own.path.name} in {own.path.parent.name} has {len(weight)} output channels, dataset.json "
            f"{labels.channels} {kind}: take the dataset.json that it was trained with."
        )
    whole = build_network(architecture, channels, labels.channels)
    load_strictly(whole, own.weights, own.path)
    backbone = UNetBackbone(channels, **architecture.model_dump())
    classes = len(labels.names) + 1
    if labels.regions is None:
        network = Segmenter(backbone, "deterministic", classes)
    else:
        network = RegionSegmenter(backbone, "deterministic", classes, labels.regions)
    output, drop = whole.decoder.seg_layers[-1], classes - labels.channels  # regions have no background channel
    with torch.no_grad():
        network.head.mean.weight.zero_()[drop:].copy_(output.weight)
        network.head.mean.bias.zero_()[drop:].copy_(output.bias)
    whole.decoder.seg_layers = nn.ModuleList([nn.Identity()])
    backbone.network = whole
    return network.eval()


def _channels(dataset: Mapping[str, Any]) -> list[str]:
    names = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(names, Mapping) or sorted(names) != sorted(str(i) for i in range(len(names))) or not names:
        raise BundleError('dataset.json has no \'channel_names\' "0", "1", ... as nnU-Net v2 writes them.')
    return plain_names([names[str(i)] for i in range(len(names))], "channel")
