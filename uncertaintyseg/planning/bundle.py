"""A plan as a model folder that `train` takes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from uncertaintyseg import __version__
from uncertaintyseg.data.writing import check_folder, write_bytes
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, METADATA, TRAINING, WEIGHTS, Bundle, Uncertainty, config_text
from uncertaintyseg.inference.new_model import write_new_model
from uncertaintyseg.inference.own_models import checked_name
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.planning.fingerprint import Fingerprint
from uncertaintyseg.planning.intensities import transforms
from uncertaintyseg.planning.plan import Plan
from uncertaintyseg.training.left_out import LEFT_OUT
from uncertaintyseg.wire import Label

CARD = Path("docs") / "README.md"
PLAN = Path("configs") / "plan.json"
_TURN, _THICK_TURN = 0.25, 0.05
"""Radians: about an axis, and about one that would turn the image out of thick slices."""
_THICK = 2.0
_NO_BLUR = 1e-3
"""Voxels: a kernel that leaves what lies beside alone."""


def model_name(task: str) -> str:
    """Name of a task's plain model.

    Raises:
        InputError: for a task that cannot be part of a model's name.
    """
    checked_name(task)
    return checked_name(f"{task}_deterministic")


def check_place(output: Path, task: str, *, overwrite: bool) -> None:
    """Before long work: whether a plan may be written there.

    Raises:
        InputError: there is a trained model of that name, or a folder that is none, and nobody said to overwrite it.
    """
    folder = output / model_name(task)
    check_folder(output, "--output")
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / METADATA).is_file())):
        raise InputError(f"{folder}: is there already and no model: choose another TASK or --output.")
    if (folder / WEIGHTS).is_file() and not overwrite:
        raise InputError(
            f"{folder}: a trained model is there already; --overwrite deletes it, with its weights, calibration and "
            "history, and its training begins anew. To keep it, choose another TASK or --output."
        )


def write_plan(plan: Plan, fingerprint: Fingerprint, output: Path, *, overwrite: bool = False) -> Bundle:
    """Write `output / <task>_deterministic`, whole or not at all.

    Raises:
        InputError: as `check_place`, and where it cannot be written.
    """
    check_place(output, plan.task, overwrite=overwrite)
    return write_new_model(
        output,
        model_name(plan.task),
        lambda folder: write_files(folder, plan, fingerprint),
        check=lambda: check_place(output, plan.task, overwrite=overwrite),
    )


def write_files(folder: Path, plan: Plan, fingerprint: Fingerprint) -> None:
    """The files of a model into a folder that nobody looks at yet."""
    name = model_name(plan.task)
    configs = {METADATA: _metadata(name, plan, fingerprint), INFERENCE: _inference(plan, fingerprint)}
    configs |= {TRAINING: _training(plan, fingerprint), PLAN: plan_json(plan)}
    for part, config in configs.items():
        write_bytes(folder / part, config_text(config).encode())
    write_bytes(folder / CARD, _card(name, plan, fingerprint).encode())


def plan_json(plan: Plan) -> dict[str, Any]:
    """What was chosen, for programs."""
    return {
        "task": plan.task, "budget": plan.budget.name, "hours": plan.hours, "spacing": list(plan.spacing),
        "median_shape": list(plan.shape), "normalization": [one.scheme for one in plan.normalization],
        "patch": list(plan.patch), "kernels": [list(one) for one in plan.kernels],
        "strides": [list(one) for one in plan.strides], "features": plan.features, "batch_size": plan.batch_size,
        "overlap": plan.overlap, "symmetries": plan.symmetries, "deep_supervision": plan.deep_supervision,
        "foreground": plan.foreground, "steps": plan.steps, "steps_per_epoch": plan.steps_per_epoch,
        "epochs": plan.epochs, "learning_rate": plan.learning_rate, "seed": plan.seed,
        "memory_bytes": plan.memory_bytes, "measured_bytes": plan.measured_bytes,
        "dimensions": 2 if plan.flat else 3, "clahe": plan.clahe,
        "step_seconds": plan.pace, "step_measured": plan.trial is not None, "seconds": round(plan.seconds),
        "validation_share": round(plan.validation_share, 4),
        "choices": [
            {"name": one.name, "value": one.value, "why": one.why, "flag": one.flag} for one in plan.choices
        ],
    }  # fmt: skip


def _metadata(name: str, plan: Plan, fingerprint: Fingerprint) -> dict[str, Any]:
    data = fingerprint.dataset
    labels = [
        Label(id=one.id, name=one.name, rgb=one.rgb, snomed=one.snomed, modifier=one.modifier) for one in data.labels
    ]
    channels = {str(number): channel for number, channel in enumerate(data.channels)}
    shape = {
        "num_channels": len(channels),
        "spatial_shape": list(plan.patch),
        "dtype": "float32",
        "is_patch_data": True,
    }
    names = [label.name for label in labels]
    section = {
        "task": plan.task,
        "head": "deterministic",
        "modality": data.modality,
        "maps": [*MEASURES, *(f"{kind}_{one}" for one in names for kind in ("probability", "variance"))],
        "labels": [label.model_dump(exclude_none=True) | {"snomed": label.snomed} for label in labels],
        **({"dimensions": 2} if plan.flat else {}),
    }
    further = {"ignore": data.ignore, "values": {str(k): v for k, v in data.values.items()}, "regions": data.regions}
    further["channel_ranges"] = [
        {"name": one.name, "low": one.low, "median": one.median, "high": one.high}
        for one in fingerprint.channels
        if math.isfinite(one.low)
    ]
    section |= {key: value for key, value in further.items() if value and key in Uncertainty.model_fields}
    if data.ignore is not None:
        section["ignore"] = data.ignore
    return {
        "schema": "meta_schema_20240725",
        "version": "0.1.0",
        "changelog": {"0.1.0": "planned"},
        "required_packages_version": {"uncertaintyseg": __version__},
        "name": name,
        "task": f"Segmentation of {', '.join(names[:8])}",
        "description": f"{plan.task}: plain network, planned from {len(fingerprint.cases)} cases.",
        "authors": "see the data",
        "data_source": data.folder.name,
        "data_type": "nibabel",
        "image_classes": f"{data.modality or 'images'}, channels {', '.join(data.channels)}",
        "label_classes": ", ".join(f"{one.id} {one.name}" for one in labels[:50]),
        "intended_use": "Research and teaching. Not for clinical decisions.",
        "references": [],
        "network_data_format": {
            "inputs": {"image": {"type": "image", "format": "magnitude", **shape, "channel_def": channels}},
            "outputs": {
                "pred": {
                    "type": "distribution over logits (HeadOutput)",
                    "format": "segmentation",
                    **(shape | {"num_channels": len(names) + 1}),
                    "channel_def": {"0": "background"} | {str(one.id): one.name for one in labels},
                }
            },
        },
        "uncertainty": section,
    }


def _inference(plan: Plan, fingerprint: Fingerprint) -> dict[str, Any]:
    data = fingerprint.dataset
    reading: dict[str, Any] = {"_target_": "uncertaintyseg.data.transforms.ReadCased", "labels": data.ids}
    if len(data.channels) > 1:
        reading["channels"] = len(data.channels)
    both = {"keys": ["image", "label"], "allow_missing_keys": True}
    orientation = {
        "_target_": "Orientationd", "axcodes": "RAS", "labels": [["L", "R"], ["P", "A"], ["I", "S"]], **both,
    }  # fmt: skip
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$'cuda' if torch.cuda.is_available() else 'cpu'",
        "spacing": list(plan.spacing),
        "window": list(plan.patch),
        "overlap": plan.overlap,
        "symmetries": plan.symmetries,
        **({"channels": data.channels} if data.channels != ["image"] else {}),
        "network_def": {
            "_target_": "uncertaintyseg.segmenter.Segmenter",
            "backbone": {
                "_target_": "uncertaintyseg.backbones.DynUNetBackbone",
                "in_channels": len(data.channels),
                "filters": plan.features,
                "kernels": [list(one) for one in plan.kernels],
                "strides": [list(one) for one in plan.strides],
            },
            "head": "deterministic",
            "classes": len(data.labels) + 1,
        },
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                reading,
                *([] if plan.flat else [orientation]),
                {"_target_": "Spacingd", "pixdim": "@spacing", "mode": ["bilinear", "nearest"], **both},
                *([{"_target_": "uncertaintyseg.data.transforms.EqualiseLocallyd"}] if plan.clahe else []),
                *transforms(plan.normalization, flat=plan.flat),
            ],
        },
        "predictor": {
            "_target_": "uncertaintyseg.inference.predictor.Predictor", "bundle": "@bundle_root", "device": "@device",
        },
        "run": ["$@predictor.predict_folder(@dataset_dir, @output_dir)"],
    }  # fmt: skip


def _training(plan: Plan, fingerprint: Fingerprint) -> dict[str, Any]:
    left_out = {LEFT_OUT: list(fingerprint.left_out)} if fingerprint.left_out else {}
    return left_out | {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "",
        "split": None,
        "output_dir": "$@bundle_root + '/..'",
        "device": "$'cuda' if torch.cuda.is_available() else 'cpu'",
        "recipe": {
            "stage": "backbone",
            "crop": list(plan.patch),
            "batch_size": plan.batch_size,
            "epochs": plan.epochs,
            "steps_per_epoch": plan.steps_per_epoch,
            "foreground": round(plan.foreground, 4),
            "deep_supervision": plan.deep_supervision,
            "patience": plan.epochs,
            "learning_rate": plan.learning_rate,
            "clip": 12.0,
            "seed": plan.seed,
        },
        "crop": "@recipe#crop",
        "augmentation": {"_target_": "Compose", "transforms": augmentation(plan)},
        "bundle": {"_target_": "uncertaintyseg.inference.bundle.Bundle.load", "folder": "@bundle_root"},
        "cases": {"_target_": "uncertaintyseg.data.layouts.read_cases", "folder": "@dataset_dir"},
        "parts": {"_target_": "uncertaintyseg.data.layouts.training_parts", "cases": "@cases", "split": "@split"},
        "fit": {
            "_target_": "uncertaintyseg.training.fit.fit", "bundle": "@bundle", "training": "$@parts[0]",
            "validation": "$@parts[1]", "output": "@output_dir", "device": "@device",
        },
        "run": ["$print(@fit)"],
    }  # fmt: skip


def augmentation(plan: Plan) -> list[dict[str, Any]]:
    """As the shipped models have it; thick slices are turned within their plane only, images of course."""
    both = {"keys": ["image", "label"]}
    if plan.flat:
        bend = {"rotate_range": [0.0, 0.0, _TURN], "scale_range": [0.15, 0.15, 0.0]}
        bend["shear_range"] = [0.08, 0.0, 0.08, 0.0, 0.0, 0.0]
        shift = [*(max(side // 10, 1) for side in plan.patch[:2]), 0]
        blur = {"sigma_x": [0.4, 1.0], "sigma_y": [0.4, 1.0], "sigma_z": [_NO_BLUR, _NO_BLUR]}
        return _augmentation(plan, both, bend | {"translate_range": shift}, blur)
    shortest = min(plan.spacing)
    thick = [mm > _THICK * shortest for mm in plan.spacing]
    # A turn about an axis mixes the other two: small where one of them, and not the other, is thick.
    turns = [_THICK_TURN if thick[a] != thick[b] else _TURN for a, b in ((1, 2), (0, 2), (0, 1))]
    blur = {f"sigma_{axis}": [0.0, 0.3] if thick[number] else [0.4, 1.0] for number, axis in enumerate("xyz")}
    bend = {
        "rotate_range": turns, "scale_range": [0.05 if flat else 0.15 for flat in thick],
        "shear_range": [0.02 if any(thick) else 0.08] * 3,
        "translate_range": [max(side // 10, 1) for side in plan.patch],
    }  # fmt: skip
    return _augmentation(plan, both, bend, blur)


def _augmentation(
    plan: Plan, both: dict[str, Any], bend: dict[str, Any], blur: dict[str, list[float]]
) -> list[dict[str, Any]]:
    return [
        *({"_target_": "RandFlipd", **both, "spatial_axis": axis, "prob": 0.5} for axis in plan.symmetries),
        {
            "_target_": "RandAffined", **both, "prob": 1.0, "spatial_size": "@crop", **bend,
            "mode": ["bilinear", "nearest"], "padding_mode": "border",
        },
        {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.3, "std": 0.1},
        {"_target_": "RandGaussianSmoothd", "keys": "image", "prob": 0.2, **blur},
        {"_target_": "RandScaleIntensityd", "keys": "image", "prob": 0.5, "factors": 0.25},
        {"_target_": "RandShiftIntensityd", "keys": "image", "prob": 0.5, "offsets": 0.2},
        {"_target_": "RandAdjustContrastd", "keys": "image", "prob": 0.3, "gamma": [0.7, 1.5]},
    ]  # fmt: skip


def _card(name: str, plan: Plan, fingerprint: Fingerprint) -> str:
    rows = "\n".join(f"| {one.name} | {one.value} | {one.why} |" for one in plan.choices)
    labels = ", ".join(["0 background", *(f"{one.id} {one.name}" for one in fingerprint.dataset.labels)])
    return (
        f"# {name}\n\nPlanned by `uncertaintyseg plan {plan.task}` from {len(fingerprint.cases)} cases of "
        f"`{fingerprint.dataset.folder.name}`. Output: {labels}.\n\n"
        f"| choice | value | why |\n|---|---|---|\n{rows}\n\n"
        "Intended use: research and teaching. Not for clinical decisions. Until `uncertaintyseg calibrate` has run, "
        "its probabilities are its own opinion.\n"
    )
