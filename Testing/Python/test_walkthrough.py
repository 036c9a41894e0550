"""The whole road, from a click in the panel to a label in the studies folder."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.walkthrough import Walkthrough, walk
from uncertaintyseg.cli.demo.server import running_server
from uncertaintyseg.cli.demo.studies import Studies, prepare

MODEL = "phantom_low_rank"


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return prepare(tmp_path_factory.mktemp("walkthrough") / "data", None, 2)


@pytest.fixture(scope="module")
def walkthrough(studies: Studies, tmp_path_factory: pytest.TempPathFactory) -> Walkthrough:
    folder = tmp_path_factory.mktemp("pictures")
    with running_server(studies.folder, folder / "server.log", keep=False) as server:
        yield walk(server.url, MODEL, folder)


def test_every_step_ends_with_a_status_that_says_what_happened(walkthrough: Walkthrough) -> None:
    statuses = walkthrough.statuses
    assert "models" in statuses["connectButton"]
    assert statuses["scoreButton"].startswith(f"2 cases scored by {MODEL}")
    assert "rank 1 of 2" in statuses["nextCaseButton"]
    assert f"segmented by {MODEL}" in statuses["runButton"]
    assert "saved on the server" in statuses["submitButton"]


def test_scan_segmentation_and_map_stand_in_the_scene(walkthrough: Walkthrough) -> None:
    case = walkthrough.panel.widget.panel.review.case
    names = case.segmentation.GetSegmentation()
    assert [names.GetNthSegment(i).GetName() for i in range(names.GetNumberOfSegments())] == ["organ", "lesion"]
    entropy = slicer.util.arrayFromVolume(case.maps["predictive_entropy"])
    assert entropy.shape == slicer.util.arrayFromVolume(case.scan).shape
    assert 0.3 < entropy.max() <= np.log(3) + 1e-3
    assert case.maps["predictive_entropy"].GetAttribute("UncertaintySeg.Unit") == "nats"


def test_the_structure_table_shows_volumes_with_intervals(walkthrough: Walkthrough) -> None:
    table = walkthrough.panel.widget.panel.ui.structuresTable
    rows = [[table.item(row, column).text() for column in range(4)] for row in range(table.rowCount)]
    assert [row[0].removeprefix("⚠ ") for row in rows] == ["organ", "lesion"]
    assert "[" in rows[0][1]


def test_the_overlay_can_be_seen_in_every_view(walkthrough: Walkthrough) -> None:
    for plane in ("axial", "sagittal", "coronal"):
        picture = matplotlib.image.imread(walkthrough.pictures[plane])[..., :3]
        assert (np.ptp(picture, axis=-1) > 0.25).mean() > 0.001, plane


def test_the_submitted_label_is_the_models_on_the_scans_grid(walkthrough: Walkthrough, studies: Studies) -> None:
    (saved,) = (Path(studies.folder) / "labels" / "final").glob("*.nii.gz")
    label, scan = nib.load(saved), nib.load(studies.folder / saved.name)
    np.testing.assert_allclose(label.affine, scan.affine, atol=1e-3)
    assert set(np.unique(np.asarray(label.dataobj))) <= {0, 1, 2}
    assert np.asarray(label.dataobj).any()
