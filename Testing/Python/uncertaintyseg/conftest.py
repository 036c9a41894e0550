"""What the tests of the library share: hypothesis that repeats itself, and tiny models and data to run for real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from Testing.Python.uncertaintyseg import tiny
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


@pytest.fixture
def tiny_bundle(tmp_path) -> Callable[..., Bundle]:
    """Makes a bundle with random weights: `tiny_bundle("low_rank", classes=3, rank=2)`."""

    def make(head: str = "deterministic", classes: int = 3, *, seed: int = 0, **options: object) -> Bundle:
        return tiny.give_random_weights(tiny.write_bundle(tmp_path / "models", head, classes, **options), seed)

    return make
