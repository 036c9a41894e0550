"""Small random networks laid out exactly as TotalSegmentator has its downloaded weights, and a scan for them.

The plans are of the form that its published weights have, nnU-Net's from before version 2.4.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.imports import import_model
from uncertaintyseg.imports.totalsegmentator.tasks import Task, task
from uncertaintyseg.inference.bundle import Bundle

FOLDERS = {
    291: "Dataset291_TotalSegmentator_part1_organs_1559subj",
    292: "Dataset292_TotalSegmentator_part2_vertebrae_1532subj",
    293: "Dataset293_TotalSegmentator_part3_cardiac_1559subj",
    294: "Dataset294_TotalSegmentator_part4_muscles_1559subj",
    295: "Dataset295_TotalSegmentator_part5_ribs_1559subj",
    297: "Dataset297_TotalSegmentator_total_3mm_1559subj",
    298: "Dataset298_TotalSegmentator_total_6mm_1559subj",
}
PATCHES = {"total": 96, "total_fast": 64}
"""Sides of windows that hold all of the scan below, for answers that do not hang on how windows are added up."""
_FEATURES, _MOST = 4, 8
_STRIDES = [[1, 1, 1], [2, 2, 2]]
_KERNELS = [[3, 3, 3], [3, 3, 3]]


def lay_out(
    folder: Path, name: str = "total", *, parts: Sequence[int] | None = None, seed: int = 0, patch: int = 24
) -> Path:
    """Write untrained weights of a task.

    Args:
        folder: TotalSegmentator's folder of results, `$TOTALSEG_WEIGHTS_PATH`.
        name: of the task.
        parts: numbers of the data sets to write; None: all of the task.
        seed: of the weights.
        patch: side of a window.

    Returns:
        `folder`.
    """
    chosen = task(name)
    for place, dataset in enumerate(chosen.datasets):
        if parts is None or dataset in parts:
            classes = chosen.parts[place] if chosen.parts else chosen.classes
            _write(folder, chosen, dataset, classes, seed + place, patch)
    return folder


def _write(folder: Path, chosen: Task, dataset: int, classes: Sequence[str], seed: int, patch: int) -> None:
    name = FOLDERS.get(dataset, f"Dataset{dataset:03d}_{chosen.name}")
    trained = folder / name / f"{chosen.trainer}__nnUNetPlans__{chosen.configuration}"
    (trained / "fold_0").mkdir(parents=True)
    plans = _plans(name, chosen, patch)
    labels = {label: number for number, label in enumerate(["background", *classes])}
    description = {
        "channel_names": {"0": chosen.modality}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz",
    }  # fmt: skip
    (trained / "plans.json").write_text(json.dumps(plans, indent=1))
    (trained / "dataset.json").write_text(json.dumps(description, indent=1))
    network = _network(len(labels), seed)
    torch.save(
        {
            "network_weights": network.state_dict(),
            "optimizer_state": {},
            "grad_scaler_state": None,
            "logging": {},
            "_best_ema": 0.5,
            "current_epoch": 1,
            "init_args": {
                "plans": plans, "configuration": chosen.configuration, "fold": 0, "dataset_json": description,
                "unpack_dataset": True, "device": torch.device("cpu"),
            },
            "trainer_name": chosen.trainer,
            "inference_allowed_mirroring_axes": None if "NoMirroring" in chosen.trainer else (0, 1, 2),
        },
        trained / "fold_0" / "checkpoint_final.pth",
    )  # fmt: skip


def _network(classes: int, seed: int) -> nn.Module:
    """Whose answers follow the image closely enough that many classes win somewhere, the background most often."""
    network = PlainConvUNet(
        1, 2, [_FEATURES, _MOST], nn.Conv3d, _KERNELS, _STRIDES, [1, 1], classes, [1], True, nn.InstanceNorm3d,
        {"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True}, deep_supervision=True,
    )  # fmt: skip
    random = np.random.RandomState(seed)  # the same numbers with every release of numpy and torch
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1 and "seg_layers" not in name:
                scale = math.sqrt(2 / value[0].numel())
                value.copy_(torch.from_numpy(scale * random.standard_normal(value.shape)))
            elif name.endswith("conv.bias") or "transpconvs" in name:
                value.copy_(torch.from_numpy(random.standard_normal(value.shape) / 10))
        for layer in network.decoder.seg_layers:
            layer.weight.copy_(torch.from_numpy(random.standard_normal(layer.weight.shape)))
            layer.bias.copy_(torch.from_numpy(random.standard_normal(layer.bias.shape) / 2))
            layer.bias[0] += math.sqrt(2 * math.log(classes))  # about the largest of so many
    return network


def write_ct(path: Path) -> Path:
    """A body of soft stripes in air: stored turned, flipped and oblique, with sides that halve voxels exactly."""
    shape, spacing = (34, 41, 30), (2.1, 2.25, 3.3)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    stripes = 150 * np.sin(7 * x + 3 * y * z) + 200 * np.cos(5 * y - 4 * z) + 120 * np.sin(9 * z + 6 * x * y)
    voxels = np.where(x**2 + 0.8 * y**2 < 0.9, stripes, -1000).round().astype(np.float32)
    angle = math.radians(6)
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1.0]])
    axes = np.array([[0, -1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]])  # stored: front to back, then left
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes @ np.diag(spacing)
    affine[:3, 3] = 40, 30, -50
    write_volume(path, voxels, affine)
    return path


def _plans(name: str, chosen: Task, patch: int) -> dict[str, Any]:
    spacing = list(reversed(chosen.spacing))  # plans have z, y, x
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": spacing,
        "original_median_shape_after_transp": [64, 64, 64],
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 3000.0, "mean": 60.0, "median": 50.0, "min": -1000.0, "percentile_00_5": -900.0,
                "percentile_99_5": 900.0, "std": 250.0,
            }
        },
        "configurations": {
            chosen.configuration: {
                "data_identifier": f"nnUNetPlans_{chosen.configuration}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [patch] * 3,
                "median_image_size_in_voxels": [64.0, 64.0, 64.0],
                "spacing": spacing,
                "normalization_schemes": ["CTNormalization" if chosen.modality == "CT" else "ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "UNet_class_name": "PlainConvUNet",
                "UNet_base_num_features": _FEATURES,
                "n_conv_per_stage_encoder": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "num_pool_per_axis": [1, 1, 1],
                "pool_op_kernel_sizes": _STRIDES,
                "conv_kernel_sizes": _KERNELS,
                "unet_max_num_features": _MOST,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg_kwargs": resampling | {"is_seg": True, "order": 1},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
                "batch_dice": False,
            }
        },
    }  # fmt: skip


def import_composite(folder: Path, count: int = 10) -> tuple[Bundle, list[Path]]:
    """The smallest composite there is, TotalSegmentator's `total_mr` of two networks, and cases for it.

    Args:
        folder: gets `models`, `weights`, and `data` with `images` and `labels`.
        count: of the cases.

    Returns:
        The model, and its scans; their labels are drawn at random from the ids 0 to 4, and so mostly wrong.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOTALSEG_WEIGHTS_PATH", str(lay_out(folder / "weights", "total_mr", patch=32)))
        bundle = import_model(Path("totalsegmentator"), output=folder / "models", task="total_mr")
    whole = read_scan(write_ct(folder / "whole.nii.gz"))
    body, random = whole[0].numpy()[10:22, 12:24, 8:18], np.random.default_rng(0)
    scans = [folder / "data" / "images" / f"case_{number}.nii.gz" for number in range(count)]
    for number, scan in enumerate(scans):
        write_volume(scan, body + 10 * number, whole.affine)
        write_volume(folder / "data" / "labels" / scan.name, random.integers(0, 5, body.shape, np.uint8), whole.affine)
    return bundle, scans
