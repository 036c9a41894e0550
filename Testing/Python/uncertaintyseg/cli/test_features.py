"""Feature tables, class averages and circumferences of `evaluate`, and those of `inspect`, of pictures."""

from __future__ import annotations

import csv
import re

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.ellipses import border_ellipse


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = flat.write_flat_bundle(tmp_path_factory.mktemp("models"))
    tiny.give_random_weights(path)
    return path.name, "--models", path.parent


@pytest.fixture
def pictures(tmp_path):
    flat.write_pictures(tmp_path / "data", range(3))
    return tmp_path / "data"


def test_the_table_has_a_row_for_each_structure_of_prediction_and_reference(command, model, pictures, tmp_path):
    ended = command("evaluate", *model, pictures, "--cases", "all", "--features", tmp_path / "shapes.csv", "--json")
    with (tmp_path / "shapes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2
    assert {row["size_unit"] for row in rows} == {"px"}
    _, label = flat.frame(1)
    (organ,) = [row for row in rows if (row["case"], row["structure"], row["of"]) == ("case_1", "organ", "reference")]
    columns, lines = np.nonzero(label.T == 1)
    assert float(organ["size"]) == len(columns)
    assert int(organ["first_i"]) == columns.min()
    assert int(organ["last_j"]) == lines.max()
    assert float(organ["circumference"]) == pytest.approx(border_ellipse(label.T == 1, (1, 1)).circumference, abs=1e-2)
    assert matplotlib.image.imread(tmp_path / "shapes_sizes.png").size
    assert "shapes_sizes.png" in ended.err.replace("\n", "")
    found = ended.json["circumference"]["organ"]
    assert found["unit"] == "px"
    assert found["n"] == sum(row["circumference"]["organ"]["error"] is not None for row in ended.json["cases"])


def test_the_report_has_micro_and_macro_averages_beside_the_classes(command, model, pictures):
    said = command("evaluate", *model, pictures, "--cases", "all", "--json").json
    shown = command("evaluate", *model, pictures, "--cases", "all").err
    measures = ("dice", "iou", "precision", "recall")
    rows = {name: [row[key]["mean"] for key in measures] for name, row in said["structures"].items()}
    rows |= {kind: [said["classes"][f"{kind}_{key}"]["mean"] for key in measures] for kind in ("micro", "macro")}
    words = (re.findall(r"[\w.]+", line) for line in shown.splitlines())
    table = {line[0]: line[1:] for line in words if len(line) == 5}
    assert {name: table[name] for name in rows} == {
        name: [f"{value:.3f}" for value in row] for name, row in rows.items()
    }
    cases = [np.mean([case["dice"][name] for name in said["structures"]]) for case in said["cases"]]
    assert rows["macro"][0] == pytest.approx(np.mean(cases))


@pytest.mark.parametrize("flag", ["--features", "--picture"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_evaluated(command, model, pictures, tmp_path, flag):
    ended = command("evaluate", *model, pictures, "--cases", "all", flag, pictures / "images" / "case_0.png" / "a.csv")
    assert f"choose another {flag}" in ended.message


def test_a_clip_has_no_shapes_to_list(command, model, tmp_path):
    flat.write_clip(tmp_path / "data", "clip", range(2))
    ended = command("evaluate", *model, tmp_path / "data", "--cases", "all", "--features", tmp_path / "shapes.csv")
    assert "clip" in ended.message


def saved(command, model, image, output):
    command("predict", *model, image, "--output", output)
    return nib.load(output / "label.nii.gz")


def test_a_picture_is_measured_in_pixels_and_an_image_with_spacing_in_mm(command, model, pictures, tmp_path):
    values, _ = flat.frame(0)
    image = write_volume(tmp_path / "mm.nii.gz", values.T[..., None], np.diag([0.5, 0.5, 1, 1]))
    del image
    for source, folder, unit in ((pictures / "images" / "case_0.png", "a", "px"), (tmp_path / "mm.nii.gz", "b", "mm")):
        label = saved(command, model, source, tmp_path / folder)
        found = command("inspect", tmp_path / folder, "--json").json
        assert found["size_unit"] == {"px": "px", "mm": "mm2"}[unit]
        for row in found["structures"]:
            mask = label.get_fdata()[..., 0] == row["id"]
            if row["ellipse"]["circumference"] is None:
                assert "an ellipse" in row["ellipse"]["reason"]
                continue
            step = {"px": 1.0, "mm": 0.5}[unit]
            assert row["ellipse"]["unit"] == unit
            wanted = border_ellipse(mask, (step, step)).circumference
            assert row["ellipse"]["circumference"] == pytest.approx(wanted, abs=1e-2)
        shown = command("inspect", tmp_path / folder).err
        assert f"area {unit}" in shown
        assert ("spacing is unknown" in shown) is (unit == "px")


def test_a_reference_of_another_size_is_refused(command, model, pictures, tmp_path):
    saved(command, model, pictures / "images" / "case_0.png", tmp_path / "out")
    write_volume(tmp_path / "other.nii.gz", np.zeros((9, 9, 1), np.uint8), np.eye(4))
    assert "other.nii.gz" in command("inspect", tmp_path / "out", "--reference", tmp_path / "other.nii.gz").message
