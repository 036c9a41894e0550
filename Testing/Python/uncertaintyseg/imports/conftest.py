"""A real training of nnU-Net's to be changed, and trainings of its own, made once for all tests that look at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg.imports.nnunet_folder import copy_training
from Testing.Python.uncertaintyseg.imports.nnunet_matrix import MATRIX
from Testing.Python.uncertaintyseg.imports.scans import write_case
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.bundle import Bundle


@dataclass(frozen=True)
class Made:
    """A training of nnU-Net's, our model of it, and a case."""

    training: Path
    bundle: Bundle
    images: list[Path]
    label: Path


@pytest.fixture
def training(tmp_path) -> Path:
    """A copy of a real training of nnU-Net's, to be damaged."""
    return copy_training(tmp_path)


@pytest.fixture
def models(tmp_path) -> Path:
    """Where imported models go."""
    return tmp_path / "models"


@pytest.fixture(scope="session")
def imported(tmp_path_factory) -> Callable[[str], Made]:
    """`imported("anisotropic")`: an entry of the matrix."""
    pytest.importorskip("nnunetv2")
    from Testing.Python.uncertaintyseg.imports import nnunet_oracle

    made: dict[str, Made] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_results", str(tmp_path_factory.mktemp("results")))

        def make(name: str) -> Made:
            if name not in made:
                spec, grid = MATRIX[name]
                folder = tmp_path_factory.mktemp("nnunet")
                training = nnunet_oracle.write_training(folder, spec)
                bundle = import_model(training, output=folder / "models")
                channels = len(nnunet_oracle.dataset_of(spec)["channel_names"])
                images, label = write_case(folder, grid, channels, labels=len(bundle.labels))
                made[name] = Made(training, bundle, images, label)
            return made[name]

        yield make
