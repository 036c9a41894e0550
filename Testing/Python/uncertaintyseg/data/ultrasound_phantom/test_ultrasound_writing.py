"""Folders of ultrasound phantoms: files, tables and pictures say the same, however many processes write them."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.scan import read_label, read_scan
from uncertaintyseg.data.time_axis import is_clip
from uncertaintyseg.data.ultrasound_phantom import LABELS, make_ultrasound, write_ultrasound
from uncertaintyseg.data.ultrasound_phantom.writing import COLOURS
from uncertaintyseg.errors import InputError

SIZE = 96


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("images"), []
    ids = write_ultrasound(folder, 4, 7, lambda *say: told.append(say), size=SIZE, pathology=1.0, png=True)
    return folder, ids, told


def test_ids_and_progress(written):
    _, ids, told = written
    assert ids == [f"fetus_{i:03d}" for i in range(4)]
    assert told == list(zip(ids, (0.25, 0.5, 0.75, 1.0), strict=True))


def test_files_hold_the_case_with_its_spacing(written):
    folder, ids, _ = written
    for i, case_id in enumerate(ids):
        case = make_ultrasound((7, i), size=SIZE, pathology=1.0)
        for part, volume in {
            f"images/{case_id}": case.image,
            f"labels/{case_id}": case.label,
            f"raters/{case_id}_1": case.raters[0],
            f"raters/{case_id}_3": case.raters[2],
        }.items():
            file = nib.load(folder / f"{part}.nii.gz")
            assert file.shape == (SIZE, SIZE, 1)
            assert np.array_equal(np.asarray(file.dataobj), volume)
            np.testing.assert_allclose(file.header.get_zooms()[:2], case.spacing, rtol=1e-6)
            assert nib.aff2axcodes(file.affine) == ("L", "P", "S")


def test_the_table_says_what_the_masks_show(written):
    folder, ids, _ = written
    table = rows(folder / "cases.csv")
    assert [row["id"] for row in table] == ids
    for row in table:
        mask = np.asarray(nib.load(folder / "labels" / f"{row['id']}.nii.gz").dataobj)[..., 0]
        spacing = float(row["spacing_mm"])
        for value, name in enumerate(("parenchyma", "cavum_septi_pellucidi", "lateral_ventricles"), start=1):
            assert float(row[f"area_{name}_mm2"]) == pytest.approx(
                (mask == value).sum() * spacing**2, rel=1e-4, abs=1e-3
            )
        x, y = np.nonzero(mask)
        assert x.mean() * spacing == pytest.approx(float(row["centre_x_mm"]), abs=0.3)
        assert y.mean() * spacing == pytest.approx(float(row["centre_y_mm"]), abs=0.3)
        area = np.pi / 4 * float(row["long_axis_mm"]) * float(row["short_axis_mm"])
        assert (mask > 0).sum() * spacing**2 == pytest.approx(area, rel=0.01)
        angle = 0.5 * np.arctan2(2 * np.cov(x, y)[0, 1], np.var(x) - np.var(y))
        assert np.degrees(angle) == pytest.approx(float(row["angle_degrees"]), abs=1)
        assert 18 <= float(row["age_weeks"]) <= 32
        assert row["pathology"] != "none"
        assert row["grade"] in {"1", "2", "3"}


def test_pictures_are_copies_and_masks_have_a_palette(written):
    folder, ids, _ = written
    for case_id in ids:
        image = np.asarray(nib.load(folder / "images" / f"{case_id}.nii.gz").dataobj)[..., 0]
        mask = np.asarray(nib.load(folder / "labels" / f"{case_id}.nii.gz").dataobj)[..., 0]
        picture = Image.open(folder / "png" / "images" / f"{case_id}.png")
        assert np.array_equal(np.asarray(picture).T, image)
        drawn = Image.open(folder / "png" / "labels" / f"{case_id}.png")
        assert drawn.mode == "P"
        assert np.array_equal(np.asarray(drawn).T, mask)
        assert np.array_equal(np.asarray(drawn.convert("RGB")).swapaxes(0, 1), np.array(COLOURS)[mask])


def test_processes_write_the_same_files_and_a_longer_run_begins_alike(written, tmp_path):
    folder, _, _ = written
    write_ultrasound(tmp_path, 2, 7, size=SIZE, pathology=1.0, png=True, workers=2)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.name != "cases.csv"]
    assert len(files) == 2 * (1 + 1 + 3 + 2)
    for path in files:
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()
    assert rows(tmp_path / "cases.csv") == rows(folder / "cases.csv")[:2]


def test_clips_have_a_row_for_every_frame(tmp_path):
    assert write_ultrasound(tmp_path, 1, size=64, clips=True, png=True) == ["sweep_000"]
    assert nib.load(tmp_path / "images" / "sweep_000.nii.gz").shape == (64, 64, 16)
    frames, cases = rows(tmp_path / "frames.csv"), rows(tmp_path / "cases.csv")
    assert [int(row["frame"]) for row in frames] == list(range(16))
    assert cases == [row for row in frames if row["middle"] == "1"]
    assert len(list((tmp_path / "png" / "images" / "sweep_000").iterdir())) == 16
    scan = read_scan(tmp_path / "images" / "sweep_000.nii.gz")
    assert is_clip(scan)
    assert is_clip(read_label(tmp_path / "labels" / "sweep_000.nii.gz", like=scan))
    found = read_dataset(tmp_path)
    assert [label.name for label in found.labels] == list(LABELS)
    assert (found.layout, found.channels, [case.id for case in found.cases]) == ("own", ["US"], ["sweep_000"])


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_ultrasound(tmp_path / "file", 1, size=64)
