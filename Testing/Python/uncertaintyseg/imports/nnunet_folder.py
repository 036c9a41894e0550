"""A real folder of nnU-Net's: copied, changed in one place, and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.imports.checkpoint import read_checkpoint


def copy_training(folder: Path) -> Path:
    """Copy the real training into a folder, to be damaged there; skips the test where there is none."""
    real = find_real_data("nnunet_hippocampus")
    if real is None:
        pytest.skip("no real data beside the checkout")
    training = folder / "Dataset004_Hippocampus" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(real, training, ignore=shutil.ignore_patterns("golden"))
    return training


def edit(path: Path, **changes) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes))


def edit_configuration(training: Path, **changes) -> None:
    plans = json.loads((training / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"] |= changes
    (training / "plans.json").write_text(json.dumps(plans))


def edit_architecture(training: Path, **changes) -> None:
    plans = json.loads((training / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"]["architecture"] |= changes
    (training / "plans.json").write_text(json.dumps(plans))


def edit_arguments(training: Path, **changes) -> None:
    plans = json.loads((training / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= changes
    (training / "plans.json").write_text(json.dumps(plans))


def edit_checkpoint(training: Path, **changes) -> None:
    path = training / "fold_0" / "checkpoint_final.pth"
    content = read_checkpoint(path) | changes
    torch.save({key: value for key, value in content.items() if value is not Ellipsis}, path)


def refused(training: Path, models: Path, *words: str, **options) -> None:
    """The import fails with a message that has the words, and leaves nothing behind."""
    with pytest.raises((BundleError, InputError)) as error:
        import_model(training, output=models, **options)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not models.exists() or not list(models.iterdir())
