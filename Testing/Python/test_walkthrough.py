"""The tutorial, from a click on Connect to a label in the studies folder."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("PySide6")

from Testing.walkthrough import Walk, walk
from uncertaintyseg.cli.demo.server import running_server
from uncertaintyseg.cli.demo.studies import Studies, prepare

MODEL = "phantom_low_rank"
STEPS = (
    "03_connected",
    "04_next_case",
    "05_segmented",
    "06_risk",
    "07_selection",
    "08_regions",
    "09_corrected",
    "10_submitted",
    "11_refined",
)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    return prepare(tmp_path_factory.mktemp("walkthrough") / "data", None, 2)


@pytest.fixture(scope="module")
def way(studies: Studies, session_host, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    session_host.clear()  # of what a test before left
    folder = tmp_path_factory.mktemp("pictures")
    with running_server(studies.folder, folder / "server.log", keep=False) as server:
        way = walk(server.url, MODEL, folder)
        yield way
        way.module.close()


def saved_label(studies: Studies) -> Path:
    (saved,) = (Path(studies.folder) / "labels" / "final").glob("*.nii.gz")
    return saved


def test_every_step_ends_without_an_error_and_with_a_picture(way: Walk) -> None:
    assert tuple(way.pictures) == STEPS
    assert not way.session.state.is_error
    assert "Connected to" in way.statuses["03_connected"]
    assert way.first_case in way.statuses["05_segmented"]
    for name in STEPS:
        picture = matplotlib.image.imread(way.pictures[name])
        assert picture.shape[:2] == (900, 1600)


def test_the_overlay_can_be_seen_in_the_slice_views(way: Walk) -> None:
    views = matplotlib.image.imread(way.pictures["05_segmented"])[:, 440:, :3]
    assert (np.ptp(views, axis=-1) > 0.25).mean() > 0.01


def test_the_click_moved_the_label_around_it(way: Walk) -> None:
    assert way.moved_voxels > 1
    assert "Clicks: 1" in way.click_hint


def test_the_submitted_label_is_on_the_scans_grid_and_the_next_case_is_open(way: Walk, studies: Studies) -> None:
    saved = saved_label(studies)
    label, scan = nib.load(saved), nib.load(studies.folder / saved.name)
    np.testing.assert_allclose(label.affine, scan.affine, atol=1e-3)
    assert set(np.unique(np.asarray(label.dataobj))) == {0, 1, 2}
    assert saved.name.startswith(way.first_case)
    assert way.first_case not in way.statuses["10_submitted"]


def test_the_server_knows_which_result_was_corrected_and_how_long_it_took(way: Walk, studies: Studies) -> None:
    records = json.loads((Path(studies.folder) / "datastore_v2.json").read_text(encoding="utf-8"))
    info = records["objects"][way.first_case]["labels"]["final"]["info"]
    assert len(info["result"]) == 64
    assert info["seconds_open"] > 0


def test_the_report_is_one_page_with_pictures(way: Walk) -> None:
    (page,) = (way.folder / "report").glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert way.first_case in text
    assert text.count("data:image/png;base64,") >= 9
    assert "Clicks have moved the label, and a promise is of the model" in text


def test_the_fault_in_somebody_elses_segmentation_is_the_worst_region(way: Walk) -> None:
    worst = way.session.state.result.regions[0]
    assert worst.structure == "organ"
    assert worst.expected_error_ml > 2
    assert way.ui("Regions").regionsTable.rowCount > 0
