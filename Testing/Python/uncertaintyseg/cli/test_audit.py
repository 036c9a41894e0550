"""`uncertaintyseg audit`: a model that sees the truth finds the labels that were damaged."""

from __future__ import annotations

import csv
import json
import shutil

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.data.writing import write_volume

AFFINE = np.diag([3.0, 3.0, 6.0, 1.0])
AFFINE[:3, 3] = -42, -39, -48
SHAPE = (28, 26, 16)
CASES = 5
MISSED, ERODED, ADDED = "case_1", "case_3", "case_4"


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> tuple[str, ...]:
    bundle = tiny.write_threshold_bundle(tmp_path_factory.mktemp("models"), window=(28, 28, 16))
    return "--model", bundle.name, "--models", str(bundle.folder.parent)


@pytest.fixture
def data(tmp_path):
    """Blobs with labels as the model would draw them, three of them damaged."""
    folder = tmp_path / "data"
    for number in range(CASES):
        name = f"case_{number}.nii.gz"
        affine = AFFINE.copy()
        affine[:3, 3] += 2 * number
        tiny.write_blob(folder / "images" / name, affine, SHAPE)
        label = (np.asarray(nib.load(folder / "images" / name).dataobj) > -60).astype(np.uint8)
        if f"case_{number}" == MISSED:
            label[int(np.argwhere(label)[:, 0].mean()) :] = 0
        if f"case_{number}" == ERODED:
            label[1:-1] &= label[2:] & label[:-2]
        if f"case_{number}" == ADDED:
            label[:4, :4, :3] = 1
        write_volume(folder / "labels" / name, label, affine)
    return folder


def test_the_damaged_labels_come_first_and_their_places_with_a_reason(command, where, data):
    result = command("audit", data, *where, "--json").json
    rows = result["structures"]
    assert (result["n"], result["by"], len(rows), result["failed"]) == (CASES, "excess", CASES, {})
    assert rows[0]["case"] == MISSED
    assert {row["case"] for row in rows[:3]} == {MISSED, ERODED, ADDED}
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    excess = [(row["excess_error_ml"], row["expected_error_ml"]) for row in rows]
    assert excess == sorted(excess, reverse=True)
    assert rows[0]["flag"] == "expected Dice below 0.8"
    kinds = {row["case"]: row["kind"] for row in reversed(result["regions"])}
    assert (kinds[MISSED], kinds[ADDED]) == ("missed", "extra")


def test_the_excess_is_of_the_damaged_labels_alone(command, where, data):
    rows = command("audit", data, *where, "--json").json["structures"]
    assert {row["case"] for row in rows if row["excess_error_ml"] > 0.01} == {MISSED, ERODED, ADDED}


def test_all_of_the_error_and_dice_rank_too(command, where, data):
    rows = command("audit", data, *where, "--by", "error", "--json").json["structures"]
    errors = [row["expected_error_ml"] for row in rows]
    assert errors == sorted(errors, reverse=True)
    assert command("audit", data, *where, "--by", "dice", "--json").json["structures"][0]["case"] in {MISSED, ERODED}


def test_the_picture_of_images_and_clips_has_their_units(command, tmp_path, monkeypatch):
    bundle = tiny.give_random_weights(flat.write_flat_bundle(tmp_path / "models"))
    flat.write_pictures(tmp_path / "data", [0])
    flat.write_clip(tmp_path / "data", "clip", [1, 2])
    monkeypatch.setitem(mpl.rcParams, "savefig.format", "svg")
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")  # text stays text
    picture = tmp_path / "worst.svg"
    where = ("--model", bundle.name, "--models", tmp_path / "models")
    ended = command("audit", tmp_path / "data", *where, "--picture", picture)
    assert ended.code == 0, ended.err
    drawn = picture.read_text(encoding="utf-8")
    assert " pixels</text>" in drawn
    assert ">image</text>" in drawn
    assert ">frame 1</text>" in drawn or ">frame 2</text>" in drawn
    assert " mL</text>" not in drawn
    assert " mm</text>" not in drawn


def test_tables_maps_and_picture_are_written(command, where, data, tmp_path):
    out = tmp_path / "out"
    ended = command("audit", data, *where, "--output", out, "--picture", tmp_path / "worst.png")
    assert (ended.code, ended.out) == (0, "")
    assert MISSED in ended.err
    assert "missed" in ended.err
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")
    with (out / "audit.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["case"] == MISSED
    assert json.loads((out / "audit.json").read_text(encoding="utf-8"))["n"] == CASES
    heat = nib.load(out / f"{ADDED}_label_error.nii.gz").get_fdata()
    assert heat[:3, :3, :2].min() > 0.9
    assert len(list(out.glob("*_label_error.nii.gz"))) == CASES


def test_labels_of_another_program_are_mapped(command, where, data, tmp_path):
    for path in (data / "labels").iterdir():
        image = nib.load(path)
        values = np.asarray(image.dataobj) * 5
        values[0, 0, 0] = 52
        write_volume(tmp_path / "theirs" / path.name, values, image.affine)
    shutil.rmtree(data / "labels")
    theirs = ["audit", data, *where, "--labels", tmp_path / "theirs", "--json"]
    message = command(*theirs).message
    assert "none of 5 labels can be audited" in message
    assert "unknown class id 5, 52" in message
    assert command(*theirs, "--map", "5=organ").json["structures"][0]["case"] == MISSED
    assert "has no 'liver'; it has organ" in command(*theirs, "--map", "5=liver").message


def test_a_label_that_cannot_be_read_is_reported_and_the_others_are_audited(command, where, data):
    (data / "labels" / "case_0.nii.gz").write_bytes(b"nothing")
    result = command("audit", data, *where, "--json").json
    assert result["n"] == CASES - 1
    assert "not a readable NIfTI" in result["failed"]["case_0"]
    assert "case_0 was not audited" in command("audit", data, *where).err


def test_without_a_label_there_is_nothing_to_audit(command, where, data):
    shutil.rmtree(data / "labels")
    assert "no labelled case to audit" in command("audit", data, *where).message
