"""The real nnU-Net: small trainings that its own trainer saves with seeded weights, and what its own predictor answers.

Nothing is patched: accumulators of nnU-Net's windows are half precision, so the predictor's method of that loop is
overridden by one with float32, made of nnU-Net's own steps, Gaussian and mirroring.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch

_TRAINERS = {
    "nnUNetTrainer": "nnUNetTrainer",
    "nnUNetTrainerNoMirroring": "variants.data_augmentation.nnUNetTrainerNoMirroring",
    "nnUNetTrainerBN": "variants.network_architecture.nnUNetTrainerBN",
}
CHANNEL = {
    "max": 900.0, "mean": 80.0, "median": 70.0, "min": -500.0, "percentile_00_5": -60.0, "percentile_99_5": 420.0,
    "std": 90.0,
}  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """What distinguishes a training from the plainest one.

    Attributes:
        configuration: changes to the configuration of the plans.
        plans: changes to the plans.
        dataset: changes to dataset.json.
        architecture: changes to the network's arguments.
    """

    configuration: dict[str, Any] = field(default_factory=dict)
    plans: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    architecture: dict[str, Any] = field(default_factory=dict)
    network: str = "PlainConvUNet"
    trainer: str = "nnUNetTrainer"
    name: str = "3d_fullres"
    folds: tuple[int | str, ...] = (0,)
    old: bool = False


def plans_of(spec: Spec) -> dict[str, Any]:
    """plans.json."""
    resampling = {
        f"resampling_fn_{kind}": "resample_data_or_seg_to_shape" for kind in ("data", "seg", "probabilities")
    } | {
        f"resampling_fn_{kind}_kwargs": {
            "is_seg": kind == "seg", "order": 3 if kind == "data" else 1, "order_z": 0, "force_separate_z": None,
        }
        for kind in ("data", "seg", "probabilities")
    }  # fmt: skip
    blocks = "n_conv_per_stage" if spec.network == "PlainConvUNet" else "n_blocks_per_stage"
    architecture = {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3,
        "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        blocks: [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        **spec.architecture,
    }
    channels = len(spec.dataset.get("channel_names") or {"0": "MRI"})
    configuration = {
        "data_identifier": f"nnUNetPlans_{spec.name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16, 16],
        "median_image_size_in_voxels": [20, 20, 20],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        **resampling,
        "batch_dice": False,
        **spec.configuration,
    }
    if spec.old:
        configuration |= {
            "UNet_class_name": spec.network,
            "UNet_base_num_features": architecture["features_per_stage"][0],
            "unet_max_num_features": max(architecture["features_per_stage"]),
            "n_conv_per_stage_encoder": architecture[blocks],
            "n_conv_per_stage_decoder": architecture["n_conv_per_stage_decoder"],
            "num_pool_per_axis": [2, 2, 2],
            "pool_op_kernel_sizes": architecture["strides"],
            "conv_kernel_sizes": architecture["kernel_sizes"],
        }
    else:
        configuration["architecture"] = {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{spec.network}",
            "arch_kwargs": architecture,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
    configurations = {spec.name: configuration}
    if spec.name == "3d_lowres":  # as nnU-Net writes it: what differs stands in the configuration itself
        parent = {"spacing": [0.5, 0.5, 0.5], "batch_dice": True}
        configurations = {
            "3d_fullres": configuration | parent,
            "3d_lowres": {
                "spacing": configuration["spacing"], "inherits_from": "3d_fullres", "next_stage": "3d_cascade_fullres",
            },
        }  # fmt: skip
    intensities = "by_modality" if spec.old else "per_channel"
    return {
        "dataset_name": "Dataset123_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        f"foreground_intensity_properties_{intensities}": {str(c): CHANNEL for c in range(channels)},
        **spec.plans,
    }


def dataset_of(spec: Spec) -> dict[str, Any]:
    """dataset.json."""
    return {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "kidney": 1, "tumour": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "name": "Tiny",
        **spec.dataset,
    }


def write_training(folder: Path, spec: Spec) -> Path:
    """A trained-model folder, its checkpoints saved by the trainer itself."""
    os.environ.setdefault("nnUNet_results", str(folder / "results"))
    plans, dataset = plans_of(spec), dataset_of(spec)
    training = folder / "Dataset123_Tiny" / f"{spec.trainer}__nnUNetPlans__{spec.name}"
    training.mkdir(parents=True)
    (training / "plans.json").write_text(json.dumps(plans))
    (training / "dataset.json").write_text(json.dumps(dataset))
    for number, fold in enumerate(spec.folds):
        trainer = _trainer(spec, plans, dataset, fold)
        torch.manual_seed(number + 1)
        trainer.network = _network(trainer)
        with torch.no_grad():
            for name, value in trainer.network.named_parameters():
                value.add_(0.3 * torch.randn_like(value) * (1.0 if value.ndim == 1 else value.std()))
                if name.startswith("decoder.seg_layers"):  # opinions that differ from voxel to voxel
                    value.copy_(6 * (value - value.mean(1, keepdim=True)) if value.ndim > 1 else 0 * value)
            for name, value in trainer.network.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    value.add_(0.2 * torch.rand_like(value))
        trainer.optimizer, _ = trainer.configure_optimizers()
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        trainer._best_ema = np.float32(0.5)
        trainer.logger.log("train_losses", np.float64(0.1), 0)
        (training / f"fold_{fold}").mkdir()
        trainer.save_checkpoint(str(training / f"fold_{fold}" / "checkpoint_final.pth"))
    return training


def prediction(training: Path, images: Sequence[Path], *, mirroring: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """What nnU-Net answers: label `[X, Y, Z]` and probabilities `[C or regions, X, Y, Z]`."""
    predictor = _predictor(training, mirroring=mirroring)
    label, probability = predictor.predict_from_files_sequential([list(map(str, images))], None, True)[0]
    label, probability = label.transpose(2, 1, 0), probability.transpose(0, 3, 2, 1)
    if not predictor.plans_manager.plans["image_reader_writer"].endswith("Reorient"):
        return label, probability
    # nnU-Net turns labels back only while it writes them
    turned = nib.io_orientation(nib.load(images[0]).affine)
    back = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turned)
    label, *channels = (nib.apply_orientation(volume, back) for volume in (label, *probability))
    return label, np.stack(channels)


def preprocessed(training: Path, images: Sequence[Path], label: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What nnU-Net's preprocessor makes of a case: image `[channels, *grid]` and label `[*grid]`, -1 outside."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    plans, configuration, dataset = _managers(training)
    files = [str(image) for image in images]
    data, seg, _ = DefaultPreprocessor(verbose=False).run_case(
        files, label and str(label), plans, configuration, dataset
    )
    return data, seg[0]


def logits(training: Path, patch: np.ndarray) -> np.ndarray:
    """What the network of the first fold says of a patch `[channels, *patch]`."""
    predictor = _predictor(training, mirroring=False)
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    with torch.inference_mode():
        return predictor.network.eval()(torch.from_numpy(patch)[None])[0].numpy()


def _trainer(spec: Spec, plans: dict[str, Any], dataset: dict[str, Any], fold: int | str) -> Any:
    import importlib

    module = importlib.import_module(f"nnunetv2.training.nnUNetTrainer.{_TRAINERS[spec.trainer]}")
    kind = getattr(module, spec.trainer)
    given = deepcopy(plans) | {"continue_training": False}
    return kind(given, spec.name, fold, deepcopy(dataset), torch.device("cpu"))


def _network(trainer: Any) -> torch.nn.Module:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels

    plans, configuration = trainer.plans_manager, trainer.configuration_manager
    channels = determine_num_input_channels(plans, configuration, trainer.dataset_json)
    heads = trainer.label_manager.num_segmentation_heads
    return trainer.build_network_architecture(plans, configuration, channels, heads, trainer.enable_deep_supervision)


def _managers(training: Path) -> tuple[Any, Any, dict[str, Any]]:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(json.loads((training / "plans.json").read_text(encoding="utf-8")))
    dataset = json.loads((training / "dataset.json").read_text(encoding="utf-8"))
    return plans, plans.get_configuration(training.name.split("__")[2]), dataset


def _predictor(training: Path, *, mirroring: bool) -> Any:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian

    class Float32Predictor(nnUNetPredictor):
        """The loop over windows with float32 accumulators."""

        def _internal_predict_sliding_window_return_logits(
            self, data: torch.Tensor, slicers: list[Any], do_on_device: bool = True
        ) -> torch.Tensor:
            heads, patch = self.label_manager.num_segmentation_heads, tuple(self.configuration_manager.patch_size)
            gaussian = compute_gaussian(
                patch, sigma_scale=1 / 8, value_scaling_factor=10, dtype=torch.float32, device=torch.device("cpu")
            )
            total, weight = torch.zeros((heads, *data.shape[1:])), torch.zeros(data.shape[1:])
            for where in slicers:
                found = self._internal_maybe_mirror_and_predict(data[where][None].clone())[0]
                total[where] += found * gaussian
                weight[where[1:]] += gaussian
            return total / weight

    plans, configuration, dataset = _managers(training)
    name, _, configuration_name = training.name.split("__")
    weights, axes = [], None
    for file in sorted(training.glob("fold_*/checkpoint_final.pth")):
        trainer = _trainer(Spec(trainer=name, name=configuration_name), deepcopy(plans.plans), dataset, 0)
        trainer.enable_deep_supervision = False
        trainer.network = _network(trainer)
        trainer.optimizer, _ = trainer.configure_optimizers()
        trainer.was_initialized = True
        trainer.load_checkpoint(str(file))
        weights.append(deepcopy(trainer.network.state_dict()))
        axes = trainer.inference_allowed_mirroring_axes
    predictor = Float32Predictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(trainer.network, plans, configuration, weights, dataset, name, axes)
    return predictor
