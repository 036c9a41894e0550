"""MONAI bundles as the Model Zoo has them, and MONAI's own answer to a scan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import nn

CONFIG: dict[str, Any] = {
    "imports": ["$import glob", "$import os"],
    "bundle_root": "/workspace/data/spleen_ct_segmentation",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "/workspace/data/Task09_Spleen",
    "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": {
        "_target_": "UNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8, 8],
        "strides": [2, 2],
        "num_res_units": 2,
        "norm": "batch",
    },
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": -57,
                "a_max": 164,
                "b_min": 0,
                "b_max": 1,
                "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 4, "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
                "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        ],
    },
    "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device", "network": "@network"},
    "initialize": ["$setattr(torch.backends.cudnn, 'benchmark', True)"],
    "run": ["$@evaluator.run()"],
}
"""What the Zoo's spleen bundle says, with a smaller network and smaller windows."""
METADATA: dict[str, Any] = {
    "version": "0.5.9",
    "name": "Spleen CT segmentation",
    "network_data_format": {
        "inputs": {"image": {"type": "image", "modality": "CT", "num_channels": 1, "spatial_shape": ["4*n"] * 3}},
        "outputs": {"pred": {"type": "image", "channel_def": {"0": "background", "1": "spleen"}}},
    },
}


def write_zoo_bundle(folder: Path, changes: dict[str, Any] | None = None, seed: int = 0) -> nn.Module:
    """Write a bundle, some of its sections changed, with random weights; returns its network."""
    config = CONFIG | (changes or {})
    for name, content in (("inference.json", config), ("metadata.json", METADATA)):
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        (folder / "configs" / name).write_text(json.dumps(content, indent=4))
    torch.manual_seed(seed)
    network = ConfigParser({"net": config["network_def"]}).get_parsed_content("net").eval()
    (folder / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return network


def monai_answer(folder: Path, scan: Path, network: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities `[C, *S]` and label `[*S]` on the scan's grid, by the bundle's own sections alone."""
    parser = ConfigParser()
    parser.read_config(folder / "configs" / "inference.json")
    parser["bundle_root"] = str(folder)
    preprocessing, inferer = (parser.get_parsed_content(name) for name in ("preprocessing", "inferer"))
    data = preprocessing({"image": str(scan)})
    with torch.inference_mode():
        data["pred"] = inferer(data["image"][None], network)[0]
    *steps, discrete = parser.get_parsed_content("postprocessing").transforms
    for step in steps:
        data = step(data)
    probability = data["pred"].numpy()
    return probability, discrete(data)["pred"][0].numpy()
