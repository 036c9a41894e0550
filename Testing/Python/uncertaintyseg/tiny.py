"""Models and data small enough that every test can run the real thing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from uncertaintyseg.data.phantom import make_phantom
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, TRAINING, WEIGHTS, Bundle
from uncertaintyseg.inference.weights import save_weights

STRUCTURES = ("organ", "lesion", "vessel", "cyst")
SHAPE, SPACING = (32, 32, 16), (3.0, 3.0, 6.0)
COARSE = {"shape": (16, 16, 8), "spacing": (6.0, 6.0, 12.0)}
"""Phantoms for `COARSE_MODEL`, which takes each in one window: for tests of many cases, not of how windows join."""
COARSE_MODEL = {"spacing": COARSE["spacing"]}


class IntensityBackbone(nn.Module):
    """Its one feature is the intensity, so what a model on it must say is known everywhere in space."""

    in_channels, features, divisor = 1, 1, 4

    def forward(self, image: Tensor) -> Tensor:
        """The image itself."""
        return image.clone()  # sliding windows scale what they are given in place


def write_phantoms(
    folder: Path, count: int, first: int = 0, *, shape: Sequence[int] = SHAPE, spacing: Sequence[float] = SPACING
) -> None:
    """Phantoms in images/ and labels/."""
    for i in range(first, first + count):
        case = make_phantom((0, i), shape=tuple(shape), spacing=tuple(spacing), raters=1)
        write_volume(folder / "images" / f"case_{i}.nii.gz", case.image, case.affine)
        write_volume(folder / "labels" / f"case_{i}.nii.gz", case.label, case.affine)


def write_bundle(
    folder: Path,
    head: str = "deterministic",
    classes: int = 3,
    *,
    task: str = "tiny",
    recipe: dict[str, Any] | None = None,
    window: Sequence[int] = (24, 24, 12),
    overlap: float = 0.25,
    spacing: Sequence[float] = SPACING,
    filters: Sequence[int] = (4, 8, 8),
    backbone: dict[str, Any] | None = None,
    **head_options: Any,
) -> Path:
    """A bundle like the shipped ones, without weights, at `folder / <task>_<head>`."""
    path = folder / f"{task}_{head}"
    names = STRUCTURES[: classes - 1]
    both = {"keys": ["image", "label"], "allow_missing_keys": True}
    backbone = backbone or {"_target_": "uncertaintyseg.backbones.DynUNetBackbone", "filters": list(filters)}
    configs: dict[Path, Any] = {
        METADATA: {
            "version": "0.1.0",
            "description": "A tiny model.",
            "uncertainty": {
                "task": task,
                "head": head,
                "maps": ["variance", "predictive_entropy"],
                "labels": [
                    {"id": i, "name": name, "rgb": [10 * i, 100, 200], "snomed": None}
                    for i, name in enumerate(names, start=1)
                ],
            },
        },
        INFERENCE: {
            "bundle_root": ".",
            "spacing": list(spacing),
            "window": list(window),
            "overlap": overlap,
            "network_def": {
                "_target_": "uncertaintyseg.segmenter.Segmenter",
                "backbone": backbone,
                "head": head,
                "classes": classes,
                **head_options,
            },
            "preprocessing": {
                "_target_": "Compose",
                "transforms": [
                    {
                        "_target_": "uncertaintyseg.data.transforms.ReadCased",
                        "labels": {name: i for i, name in enumerate(names, start=1)},
                    },
                    {
                        "_target_": "Orientationd",
                        "axcodes": "RAS",
                        "labels": [["L", "R"], ["P", "A"], ["I", "S"]],
                        **both,
                    },
                    {"_target_": "Spacingd", "pixdim": "@spacing", "mode": ["bilinear", "nearest"], **both},
                    {
                        "_target_": "ScaleIntensityRanged",
                        "keys": "image",
                        "a_min": -160,
                        "a_max": 240,
                        "b_min": -2,
                        "b_max": 2,
                        "clip": True,
                    },
                ],
            },
        },
        TRAINING: {
            "recipe": {
                "stage": "backbone" if head == "deterministic" else "head",
                "initial": None if head == "deterministic" else f"{task}_deterministic",
                "crop": list(window),
                "epochs": 2,
                "learning_rate": 0.01,
                **(recipe or {}),
            },
            "crop": "@recipe#crop",
            "augmentation": {
                "_target_": "Compose",
                "transforms": [
                    {"_target_": "RandFlipd", "keys": ["image", "label"], "spatial_axis": 0, "prob": 0.5},
                    {
                        "_target_": "RandSpatialCropd",
                        "keys": ["image", "label"],
                        "roi_size": "@crop",
                        "random_size": False,
                    },
                    {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.5, "std": 0.05},
                ],
            },
        },
    }
    for name, value in configs.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(json.dumps(value))
    return path


_GIVEN: dict[tuple[str, str, int], tuple[bytes, Tensor]] = {}
"""Weights by configuration, metadata and seed, and where they left torch's generator."""


def give_random_weights(path: Path, seed: int = 0) -> Bundle:
    """Weights that make up their minds: with all classes somewhere, and noise that can be seen."""
    key = (path / INFERENCE).read_text(encoding="utf-8"), (path / METADATA).read_text(encoding="utf-8"), seed
    if key not in _GIVEN:
        _draw_weights(path, seed)
        _GIVEN[key] = (path / WEIGHTS).read_bytes(), torch.get_rng_state()
    else:
        (path / WEIGHTS).parent.mkdir(exist_ok=True)
        (path / WEIGHTS).write_bytes(_GIVEN[key][0])
        torch.set_rng_state(_GIVEN[key][1])
    return Bundle.load(path)


def _draw_weights(path: Path, seed: int) -> None:
    bundle = Bundle.load(path)
    torch.manual_seed(seed)
    network = bundle.network(weights=False)
    with torch.no_grad():
        weight = 4 * torch.randn_like(network.head.mean.weight)
        network.head.mean.weight.copy_(weight - weight.mean(1, keepdim=True))  # features are positive on average
        network.head.mean.bias.zero_()
        for name, gain in (("factor", 10.0), ("amplitude", 10.0)):
            if hasattr(network.head, name):
                getattr(network.head, name).weight.mul_(gain)
    save_weights(network, path / WEIGHTS)


def write_threshold_bundle(folder: Path, head: str = "deterministic", **options: Any) -> Bundle:
    """Two classes by the intensity alone: organ above -60 HU, the surer the further from there."""
    backbone = {"_target_": "Testing.Python.uncertaintyseg.tiny.IntensityBackbone"}
    path = write_bundle(folder, head, 2, backbone=backbone, **options)
    network = Bundle.load(path).network(weights=False)
    with torch.no_grad():
        network.head.mean.weight.copy_(torch.tensor([0.0, 20.0]).reshape(2, 1, 1, 1, 1))
        network.head.mean.bias.copy_(torch.tensor([0.0, 20.0]))
    save_weights(network, path / WEIGHTS)
    return Bundle.load(path)


def write_blob(path: Path, affine: np.ndarray, shape: Sequence[int]) -> None:
    """A lopsided smooth blob about the origin of space, 60 HU at most and -160 HU at least, on any grid."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    x, y, z = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    distance = (x / 30) ** 2 + (y / 22) ** 2 + ((z - 0.4 * x) / 36) ** 2 + np.maximum(z, 0) / 60
    write_volume(path, (-160 + 220 * np.exp(-distance)).astype(np.float32), affine)


CHANNELS = ("T1", "CT")
RANGES = ({"low": 20.0, "median": 300.0, "high": 900.0}, {"low": -120.0, "median": 45.0, "high": 220.0})
"""What the structures look like in each: MR without a unit, and Hounsfield units."""


class FirstsBackbone(nn.Module):
    """Its features are the channels, so what a model on it must say is known by where each channel lies."""

    in_channels, features, divisor = 2, 2, 4

    def forward(self, image: Tensor) -> Tensor:
        """The image itself."""
        return image.clone()


def write_two_channel_bundle(folder: Path, task: str = "pair") -> Bundle:
    """Two structures on two channels: organ where T1 is above 150, lesion where the CT is above 100 HU."""
    backbone = {"_target_": "Testing.Python.uncertaintyseg.tiny.FirstsBackbone"}
    path = write_bundle(folder, classes=3, task=task, backbone=backbone)
    for file, change in ((INFERENCE, _with_two_channels), (METADATA, _with_ranges)):
        config = json.loads((path / file).read_text(encoding="utf-8"))
        change(config)
        (path / file).write_text(json.dumps(config))
    network = Bundle.load(path).network(weights=False)
    with torch.no_grad():
        network.head.mean.weight.copy_(torch.tensor([[0, 0], [0.1, 0], [0, 0.4]]).reshape(3, 2, 1, 1, 1))
        network.head.mean.bias.copy_(torch.tensor([0.0, -15.0, -40.0]))
    save_weights(network, path / WEIGHTS)
    return Bundle.load(path)


def _with_two_channels(config: dict[str, Any]) -> None:
    config["channels"] = list(CHANNELS)
    read, *others = config["preprocessing"]["transforms"]
    config["preprocessing"]["transforms"] = [read | {"channels": 2}, *others[:-1]]  # intensities as they are


def _with_ranges(config: dict[str, Any]) -> None:
    config["uncertainty"]["channel_ranges"] = [
        {"name": name, **found} for name, found in zip(CHANNELS, RANGES, strict=True)
    ]


def write_two_channels(
    folder: Path, case: str = "case", *, shape: Sequence[int] = SHAPE, spacing: Sequence[float] = SPACING
) -> tuple[list[Path], np.ndarray]:
    """A body in T1 and in CT, `case_0000` and `case_0001`, and where `write_two_channel_bundle` must see what.

    The organ is bright in T1, and the lesion, in the organ, dense in the CT.
    """
    place = np.indices(shape) - (np.array(shape) / 2).reshape(3, 1, 1, 1)
    radius = np.sqrt(((place * np.array(spacing).reshape(3, 1, 1, 1)) ** 2).sum(0))
    body, organ, lesion = radius < 44, radius < 30, radius < 14
    noise = np.random.default_rng(0).normal(size=(2, *shape))
    t1 = np.where(organ, 250, np.where(body, 80, 5)) + 3 * noise[0]
    ct = np.where(lesion, 180, np.where(organ, 40, np.where(body, -90, -1000))) + 5 * noise[1]
    files = [folder / f"{case}_{number:04d}.nii.gz" for number in range(2)]
    for file, values in zip(files, (np.abs(t1), ct), strict=True):
        write_volume(file, values.astype(np.float32), np.diag([*spacing, 1.0]))
    return files, np.where(lesion, 2, organ.astype(int))
