"""Trains by nnU-Net's trainer what `nnUNetv2_preprocess` made, and lets it validate: DATASET [quick].

`nnUNetv2_train` cannot be asked: it imports all trainers of the package to find one, and those of Primus need timm,
which fails beside a torch for CPUs.
"""

import random
import sys
from pathlib import Path

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA
from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import nnUNetTrainerAdam

SEED = 20


class nnUNetTrainerNoDA_Adam_30epochs(nnUNetTrainerNoDA, nnUNetTrainerAdam):
    """Few and short epochs: Adam and images as they are, with which a network learns sooner."""

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = 5e-3
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 30, 50, 2
        if "quick" in sys.argv:
            self.num_epochs, self.num_iterations_per_epoch = 1, 4


def main() -> None:
    """Train fold 0 on the CPU."""
    torch.set_num_threads(1)  # the order of sums hangs on it, so the weights do
    torch.manual_seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - the one that nnU-Net draws from
    random.seed(SEED)
    data = Path(nnUNet_preprocessed, sys.argv[1])
    plans = load_json(str(data / "nnUNetPlans.json")) | {"continue_training": False}
    trainer = nnUNetTrainerNoDA_Adam_30epochs(
        plans, "3d_fullres", 0, load_json(str(data / "dataset.json")), torch.device("cpu")
    )
    trainer.run_training()
    trainer.perform_actual_validation()


if __name__ == "__main__":
    main()
