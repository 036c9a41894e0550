"""nnU-Net's part of `beside_nnunet.py`, in a process of its own: its own preprocessing, trainer and predictor."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NUMBER, NAME = 901, "Dataset901_Beside"
CONFIGURATION = "3d_fullres"
Clock = tuple[float, float]


def run(settings: dict[str, Any], work: Path) -> dict[str, Any]:
    """Train with nnU-Net as the settings say and predict the test cases: Dice of each and what it took.

    For the side "prepare" only its data set is made: that takes memory which is not the training's.
    """
    threads = str(settings["threads"])
    for name in ("raw", "preprocessed", "results"):
        (work / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(work / name)
    os.environ |= {"nnUNet_n_proc_DA": threads, "nnUNet_def_n_proc": threads, "nnUNet_compile": "false"}
    if settings["side"] == "prepare":
        _prepare(settings, work)
        return {}
    # Augments in the process that trains, as ours does: no threads but those that both are given.
    os.environ |= {"nnUNet_n_proc_DA": "0"}
    return _train_and_predict(settings, work)


def _prepare(settings: dict[str, Any], work: Path) -> None:
    """Its raw data set by links, its fingerprint and plans, these with our sizes in them, and its preprocessing."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess_dataset,
    )

    raw, preprocessed = work / "raw" / NAME, work / "preprocessed" / NAME
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    for case in settings["train"] + settings["validation"]:
        for source, target in (
            (case["image"], raw / "imagesTr" / f"{case['id']}_0000.nii.gz"),
            (case["label"], raw / "labelsTr" / f"{case['id']}.nii.gz"),
        ):
            target.unlink(missing_ok=True)
            target.symlink_to(source)
    about = {
        "channel_names": {"0": "MRI"},  # z-scores, whatever the modality
        "labels": {"background": 0} | {name: i for i, name in enumerate(settings["structures"], start=1)},
        "numTraining": len(settings["train"]) + len(settings["validation"]),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(about))
    extract_fingerprints([NUMBER], num_processes=1, show_progress_bar=False)
    plan_experiments([NUMBER])
    path = preprocessed / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    plans["transpose_forward"] = plans["transpose_backward"] = [0, 1, 2]
    plans["configurations"] = {CONFIGURATION: _changed(plans["configurations"][CONFIGURATION], settings)}
    path.write_text(json.dumps(plans))
    preprocess_dataset(NUMBER, configurations=(CONFIGURATION,), num_processes=[1], show_progress_bar=False)
    split = [
        {
            "train": [case["id"] for case in settings["train"]],
            "val": [case["id"] for case in settings["validation"]],
        }
    ]
    (preprocessed / "splits_final.json").write_text(json.dumps(split))


def _changed(configuration: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Its configuration with our spacing, patch, batch and network; its axes are z, y, x."""
    levels = len(settings["filters"])
    architecture = configuration["architecture"]
    architecture["arch_kwargs"] |= {
        "n_stages": levels,
        "features_per_stage": settings["filters"],
        "kernel_sizes": [[3, 3, 3]] * levels,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (levels - 1),
        "n_conv_per_stage": [2] * levels,
        "n_conv_per_stage_decoder": [2] * (levels - 1),
    }
    return configuration | {
        "spacing": settings["spacing"][::-1],
        "patch_size": settings["patch"][::-1],
        "batch_size": settings["batch"],
        "architecture": architecture,
    }


def _train_and_predict(settings: dict[str, Any], work: Path) -> dict[str, Any]:
    import numpy as np
    import torch
    from beside_nnunet import peak_memory
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    ends: list[list[Clock]] = []

    class Trainer(nnUNetTrainer):
        """Its trainer, with the ends of steps written down."""

        def on_train_epoch_start(self) -> None:
            super().on_train_epoch_start()
            ends.append([])

        def train_step(self, batch: dict) -> dict:
            found = super().train_step(batch)
            ends[-1].append(clock())
            return found

    torch.set_num_threads(settings["threads"])
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(settings["seed"])
    folder = work / "preprocessed" / NAME
    plans = json.loads((folder / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    about = json.loads((folder / "dataset.json").read_text())
    trainer = Trainer(plans, CONFIGURATION, 0, about, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = settings["epochs"], settings["steps_per_epoch"]
    trainer.num_val_iterations_per_epoch, trainer.disable_checkpointing = 1, True
    start = time.perf_counter()
    trainer.run_training()
    seconds, memory = time.perf_counter() - start, peak_memory()
    trainer.set_deep_supervision_enabled(False)
    return {
        "dice": _dice(trainer, settings),
        **step_seconds(ends),
        "steps": sum(map(len, ends)),
        "seconds": seconds,
        "peak_memory": memory,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "deep_supervision": trainer.enable_deep_supervision,
    }


def clock() -> Clock:
    """Wall time, and the processor time of all threads, which other programs on the machine do not change."""
    return time.perf_counter(), time.process_time()


def step_seconds(ends: Sequence[Sequence[Clock]]) -> dict[str, float]:
    """Median time from the end of a step to that of the next within an epoch: batch, network and optimiser."""
    import numpy as np

    wall, processor = np.median(np.concatenate([np.diff(epoch, axis=0) for epoch in ends if len(epoch) > 1]), axis=0)
    return {"step_seconds": float(wall), "step_processor_seconds": float(processor)}


def _dice(trainer: Any, settings: dict[str, Any]) -> dict[str, list[float]]:
    """Dice of each structure by test case, of what its predictor says without mirroring, as ours predicts."""
    import torch
    from beside_nnunet import dice
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        "nnUNetTrainer",
        None,
    )
    files, found = SimpleITKIO(), {}
    for case in settings["test"]:
        image, properties = files.read_images([case["image"]])
        label = predictor.predict_single_npy_array(image, properties)
        reference = files.read_seg(case["label"])[0][0]
        found[case["id"]] = dice(label, reference, len(settings["structures"]))
    return found
