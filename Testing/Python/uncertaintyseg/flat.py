"""Tiny 2D models, and pictures and clips for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from Testing.Python.servers import SERVE, Server
from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, TRAINING

SIZE = (40, 32)
"""Columns and rows."""
DYNUNET = {
    "_target_": "uncertaintyseg.backbones.DynUNetBackbone",
    "filters": [4, 8, 8],
    "kernels": [[3, 3, 1]] * 3,
    "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1]],
}
ATTENTION = {"_target_": "uncertaintyseg.backbones.AttentionUNetBackbone", "filters": [4, 8, 8], "spatial_dims": 2}


def write_flat_bundle(
    folder: Path, head: str = "deterministic", *, backbone: dict[str, Any] = DYNUNET, **options: Any
) -> Path:
    """A model of images with two structures, on windows of one slice."""
    path = tiny.write_bundle(
        folder, head, 3, task="flat", window=(24, 24, 1), spacing=(1, 1, 1), backbone=backbone, **options
    )
    for file, change in ((INFERENCE, _flat_preprocessing), (METADATA, _two_dimensions), (TRAINING, _augmentation)):
        config = json.loads((path / file).read_text(encoding="utf-8"))
        change(config)
        (path / file).write_text(json.dumps(config))
    return path


def _flat_preprocessing(config: dict[str, Any]) -> None:
    read, _orientation, spacing, _scale = config["preprocessing"]["transforms"]
    scale = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": -2, "b_max": 2}
    config["preprocessing"]["transforms"] = [read, spacing, scale]


def _two_dimensions(config: dict[str, Any]) -> None:
    config["uncertainty"]["dimensions"] = 2


def _augmentation(config: dict[str, Any]) -> None:
    del config["augmentation"]["transforms"][2]


def frame(seed: int, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture `[rows, columns]`, uint8, and its label: a disc, and a smaller, brighter one in it."""
    rng = np.random.default_rng(seed)
    columns, rows = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    x, y = rng.uniform(14, 26) + shift, rng.uniform(12, 20)
    distance = np.hypot(columns - x, rows - y)
    label = (distance < 9).astype(np.uint8) + (distance < 4).astype(np.uint8)
    values = np.array([40, 120, 210])[label] + 6 * rng.normal(size=label.shape)
    return values.clip(0, 255).astype(np.uint8), label


def write_png(path: Path, values: np.ndarray) -> Path:
    """A picture `[rows, columns]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def write_pictures(folder: Path, seeds: Sequence[int]) -> None:
    """Pictures in images/ and their masks in labels/."""
    for seed in seeds:
        for name, values in zip(("images", "labels"), frame(seed), strict=True):
            write_png(folder / name / f"case_{seed}.png", values)


def write_clip(folder: Path, case: str, seeds: Sequence[int]) -> None:
    """A clip whose frames are those pictures, with its masks."""
    for number, seed in enumerate(seeds):
        for name, values in zip(("images", "labels"), frame(seed), strict=True):
            write_png(folder / name / case / f"{number}.png", values)


def serve(launch: Callable[[Sequence[str]], Server], folder: Path) -> Server:
    """A server with the models `flat_low_rank` and `tiny_low_rank`, of `picture` and of the clip `sweep`, 3 frames."""
    for path in (write_flat_bundle(folder / "models", "low_rank"), tiny.write_bundle(folder / "models", "low_rank", 3)):
        tiny.give_random_weights(path)
    server = launch([*SERVE, "--models", str(folder / "models"), "--cache", str(folder / "cache")])
    frames = [frame(seed)[0] for seed in (0, 1, 2)]
    write_png(server.studies / "picture.png", frames[0])
    for number, values in enumerate(frames):
        write_png(server.studies / "sweep" / f"{number}.png", values)
    return server
