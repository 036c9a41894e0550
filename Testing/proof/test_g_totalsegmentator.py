"""The real TotalSegmentator, on weights made here: it gives the labels that were kept, and so do we."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg.imports.test_totalsegmentator_parity import ANSWERS
from Testing.Python.uncertaintyseg.imports.totalsegmentator_weights import PATCHES, lay_out, write_ct
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.predictors import load_predictor

RUN = Path(__file__).with_name("totalsegmentator_run.py")
WANTED = ["TotalSegmentator==2.18.0", "nnunetv2==2.6.0", "dynamic-network-architectures<0.4"]
"""Later releases of the last ask for timm, which fails beside a torch for CPUs."""


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """Of an environment of its own with the real package."""
    folder = tmp_path_factory.mktemp("totalsegmentator") / "venv"
    venv.create(folder, with_pip=True)
    found = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    index = os.environ.get("TORCH_INDEX_URL")
    # our torch: another one would be downloaded with gigabytes for CUDA, and its sums may differ
    torch = [f"torch=={version('torch')}", *(["--index-url", index] if index else [])]
    for wanted in (torch, WANTED):
        subprocess.run([found, "-m", "pip", "install", "-q", *wanted], check=True)
    return found


@pytest.mark.parametrize("task", ["total_fast", "total"])
def test_the_real_package_gives_the_labels_that_were_kept(python, task, tmp_path, monkeypatch, record_property):
    weights = lay_out(tmp_path / "weights", task, patch=PATCHES[task])
    scan, output = write_ct(tmp_path / "ct.nii.gz"), tmp_path / "label.nii.gz"
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
    environment = os.environ | {"TOTALSEG_HOME_DIR": str(tmp_path / "home")}
    environment.pop("PYTHONPATH", None)
    fast = ["fast"] if task == "total_fast" else []
    subprocess.run([python, RUN, scan, output, "total", *fast], env=environment, check=True)
    theirs = np.asarray(nib.load(output).dataobj)
    kept = np.asarray(nib.load(ANSWERS / f"totalsegmentator_{task}.nii.gz").dataobj)
    assert (theirs != kept).mean() < 0.001  # sums in half precision depend on the processor
    bundle = import_model(Path("totalsegmentator"), output=tmp_path / "models", task=task)
    differ = load_predictor(bundle).predict(scan).label != theirs
    record_property(f"{task}: voxels that differ from TotalSegmentator", f"{differ.sum()} of {differ.size}")
    assert differ.sum() < 0.005 * (theirs > 0).sum()
