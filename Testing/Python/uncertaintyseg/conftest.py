"""What the tests of the library share: hypothesis that repeats itself, and tiny models and data to run for real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import settings

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import Bundle

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """Six small phantoms in images/ and labels/."""
    folder = tmp_path_factory.mktemp("phantoms")
    tiny.write_phantoms(folder, 6)
    return folder


@pytest.fixture(scope="session")
def scan(phantoms) -> Path:
    """One of them."""
    return phantoms / "images" / "case_0.nii.gz"


@pytest.fixture(scope="session")
def windows(phantoms, tmp_path_factory) -> Path:
    """The middle of each of them, on the grid and in one window of a tiny model: where windows are joined elsewhere."""
    folder = tmp_path_factory.mktemp("windows")
    for path in phantoms.glob("*/*.nii.gz"):
        middle = np.asarray(nib.load(path).dataobj)[2:26, 2:26, 1:13]
        write_volume(folder / path.relative_to(phantoms), middle, np.diag([*tiny.SPACING, 1.0]))
    return folder


@pytest.fixture
def tiny_bundle(tmp_path) -> Callable[..., Bundle]:
    """Makes a bundle with random weights: `tiny_bundle("low_rank", classes=3, rank=2)`."""

    def make(head: str = "deterministic", classes: int = 3, *, seed: int = 0, **options: object) -> Bundle:
        return tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", head, classes, **options), seed)

    return make
