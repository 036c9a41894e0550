"""Trainings and scans that together use every rule of NETWORKS 1, each by name."""

from __future__ import annotations

from typing import Any

from Testing.Python.uncertaintyseg.imports.nnunet_oracle import Spec
from Testing.Python.uncertaintyseg.imports.scans import Grid

_ANISOTROPIC: dict[str, Any] = {
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
}
_TWO = {"channel_names": {"0": "T1", "1": "T2"}}
_REGIONS = {
    "labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3},
    "regions_class_order": [1, 2, 3],
}
_TORCH = {
    f"resampling_fn_{kind}": "resample_torch_fornnunet" for kind in ("data", "seg", "probabilities")
} | {
    f"resampling_fn_{kind}_kwargs": {
        "is_seg": kind == "seg", "force_separate_z": None, "memefficient_seg_resampling": False,
    }
    for kind in ("data", "seg", "probabilities")
}  # fmt: skip

MATRIX: dict[str, tuple[Spec, Grid]] = {
    "native": (Spec(), Grid()),
    "another spacing, cropped": (Spec(), Grid((22, 20, 24), (0.8, 1.25, 1.1), border=3)),
    "anisotropic": (
        Spec(configuration={"spacing": [4.0, 1.0, 1.0], "patch_size": [8, 16, 16]}, architecture=_ANISOTROPIC),
        Grid((24, 22, 9), (0.85, 1.2, 5.0)),
    ),
    "half-way between slices": (
        Spec(configuration={"spacing": [4.0, 1.0, 1.0], "patch_size": [8, 16, 16]}, architecture=_ANISOTROPIC),
        Grid((20, 18, 6), (1.0, 1.1, 8.0)),
    ),
    "anisotropic scan alone": (Spec(), Grid((20, 18, 6), (1.1, 1.1, 3.6))),
    "rotated": (
        Spec(plans={"transpose_forward": [1, 2, 0], "transpose_backward": [2, 0, 1]}, architecture=_ANISOTROPIC),
        Grid((21, 16, 25), (1.2, 0.9, 0.8), "PIR", border=2),
    ),
    "turned to RAS": (
        Spec(plans={"image_reader_writer": "NibabelIOWithReorient"}),
        Grid((18, 22, 20), (1.0, 1.3, 0.9), "SLP"),
    ),
    "turned to RAS by ITK": (
        Spec(plans={"image_reader_writer": "SimpleITKIOWithReorient"}),
        Grid((18, 22, 20), (1.0, 1.3, 0.9), "ASL"),
    ),
    "CT": (
        Spec(configuration={"normalization_schemes": ["CTNormalization"]}, dataset={"channel_names": {"0": "CT"}}),
        Grid((20, 20, 20), (1.1, 0.9, 1.2)),
    ),
    "two channels": (
        Spec(
            configuration={
                "normalization_schemes": ["ZScoreNormalization", "RescaleTo01Normalization"],
                "use_mask_for_norm": [True, False],
            },
            dataset=_TWO,
        ),
        Grid((20, 22, 19), (1.0, 1.1, 0.9), border=2),
    ),
    "lowres": (Spec(name="3d_lowres", configuration={"spacing": [1.5, 1.5, 1.5]}), Grid((30, 28, 26))),
    "residual encoder": (
        Spec(network="ResidualEncoderUNet", architecture={"n_blocks_per_stage": [1, 2, 2]}), Grid(),
    ),
    "batch normalisation": (Spec(trainer="nnUNetTrainerBN"), Grid()),
    "no mirroring": (Spec(trainer="nnUNetTrainerNoMirroring"), Grid((17, 16, 18))),
    "two folds": (Spec(folds=(0, 1)), Grid((18, 20, 17), (1.1, 1.0, 0.9))),
    "all cases": (Spec(folds=("all",)), Grid((17, 16, 18))),
    "regions": (Spec(dataset=_REGIONS), Grid((20, 18, 19), (0.9, 1.1, 1.2), border=2)),
    "ignore": (
        Spec(dataset={"labels": {"background": 0, "kidney": 1, "tumour": 2, "ignore": 3}}), Grid((17, 16, 18)),
    ),
    "old plans": (
        Spec(old=True, configuration={"normalization_schemes": ["CTNormalization"]}), Grid((18, 17, 20), (1.1, 1, 0.9)),
    ),
    "resampled by torch": (
        Spec(configuration=_TORCH | {"spacing": [4.0, 1.0, 1.0], "patch_size": [8, 16, 16]}, architecture=_ANISOTROPIC),
        Grid((20, 22, 8), (0.85, 1.2, 5.0)),
    ),
}  # fmt: skip
"""By name: the training, and where its scan's voxels lie."""
