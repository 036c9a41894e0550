"""The whole road: a real server process, real inference, a real MRML scene, pictures, a saved label, one report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from uncertaintyseg.cli.demo.server import running_server
from uncertaintyseg.cli.demo.studies import prepare

MODELS = ("phantom_low_rank", "phantom_mixture_of_bases")


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "uncertaintyseg.cli", "demo", "--cases", "2", "--output", str(folder)]
    environment = {"VTK_DEFAULT_OPENGL_WINDOW": "vtkEGLRenderWindow", **os.environ}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr + (folder / "server.log").read_text(encoding="utf-8")[-3000:]
    return folder


def test_every_model_leaves_three_pictures_in_which_the_overlay_can_be_seen(demo_folder: Path) -> None:
    for model in MODELS:
        for plane in ("axial", "sagittal", "coronal"):
            picture = matplotlib.image.imread(demo_folder / "pictures" / f"{model}_{plane}.png")[..., :3]
            colourful = np.ptp(picture, axis=-1) > 0.25  # the scan alone is grey
            assert colourful.mean() > 0.001, f"{model} {plane} shows no colour"


def test_the_report_holds_pictures_and_tables_and_needs_nothing_else(demo_folder: Path) -> None:
    page = (demo_folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3 * len(MODELS)
    assert all(model in page for model in MODELS)
    assert 'src="http' not in page
    assert "organ" in page


def test_the_corrected_label_is_saved_on_the_grid_of_its_scan(demo_folder: Path) -> None:
    records = json.loads((demo_folder / "studies" / "datastore_v2.json").read_text(encoding="utf-8"))["objects"]
    (case,) = [image for image, record in records.items() if "final" in record["labels"]]
    (saved,) = (demo_folder / "studies" / "labels" / "final").glob("*.nii.gz")
    label, scan = nib.load(saved), nib.load(demo_folder / "studies" / f"{case}.nii.gz")
    assert label.shape == scan.shape
    np.testing.assert_allclose(label.affine, scan.affine, atol=1e-3)
    assert set(np.unique(np.asarray(label.dataobj))) <= {0, 1, 2}


def test_the_demo_leaves_no_server_behind(demo_folder: Path) -> None:
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, encoding="utf-8", check=True).stdout
    assert str(demo_folder) not in running


def test_a_demo_is_run_again_where_a_former_one_was(tmp_path: Path) -> None:
    for _ in range(2):
        studies = prepare(tmp_path / "demo", None, 1)
        with running_server(studies.folder, tmp_path / "demo" / "server.log", keep=False) as server:
            assert server.client.info()


def test_a_folder_with_other_content_is_not_touched(command, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    assert str(tmp_path) in command("demo", "--output", tmp_path).message
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]
