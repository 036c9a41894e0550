"""`uncertaintyseg calibrate` as typed in a shell."""

from __future__ import annotations

from functools import partial

import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.inference.bundle import CALIBRATION


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    tiny.write_phantoms(folder, 11, first=40, **tiny.COARSE)
    return folder


@pytest.fixture
def models(models):
    """Those that take one of the cases in one window."""
    return partial(models, **tiny.COARSE_MODEL)


def test_calibrate_writes_beside_the_weights_and_predictions_know(command, models, data, tmp_path):
    name, _, folder = models("low_rank")
    where = ["--models", folder]
    assert not next(m for m in command("models", *where, "--json").json if m["name"] == name)["calibrated"]
    result = command("calibrate", name, data, *where, "--picture", tmp_path / "curve.png", "--json").json
    assert (result["model"], result["n"], result["data"]) == (name, 11, data.name)
    curve = result["risk_coverage"]
    assert len({len(values) for values in curve.values()}) == 1
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert {(row["alpha"], row["delta"]) for row in result["promises"]} >= {(0.05, None), (0.05, 0.1)}
    assert all((row["guarantee"] is None) == (row["reason"] is not None) for row in result["promises"])
    assert next(m for m in command("models", *where, "--json").json if m["name"] == name)["calibrated"]
    scan = data / "images" / "case_40.nii.gz"
    report = command("predict", name, scan, *where, "--output", tmp_path / "out", "--json").json
    assert report["risk_coverage"]
    assert report["provenance"]["calibration"]


def test_calibrate_tells_people_what_can_be_promised(command, models, data, tmp_path):
    name, *where = models()
    ended = command("calibrate", name, data, *where, "--name", "mine", "--output", tmp_path / "runs")
    assert (ended.code, ended.out) == (0, "")
    assert "cannot be promised" in ended.err
    assert "held-out folds" in ended.err
    assert (tmp_path / "runs" / name / CALIBRATION).is_file()
    assert not (tmp_path / "models" / name / CALIBRATION).exists()


def test_promises_are_made_at_the_bounds_that_are_asked_for(command, models, data, tmp_path):
    name, *where = models(seed=2)
    asked = ["--alpha", 0.3, "--alpha", 0.995, "--delta", 0.2]
    rows = command("calibrate", name, data, *where, *asked, "--json").json["promises"]
    assert [(row["alpha"], row["delta"]) for row in rows] == [(0.3, None), (0.3, 0.2), (0.995, None), (0.995, 0.2)]
    assert rows[3]["guarantee"]["kind"] == "rcps"
    predict = ["predict", name, data / "images" / "case_40.nii.gz", *where, "--output", tmp_path / "out"]
    report = command(*predict, "--alpha", 0.995, "--delta", 0.2, "--json").json
    assert report["guarantee"] == rows[3]["guarantee"]
    assert rows[3]["guarantee"]["text"] in " ".join(command(*predict, "--alpha", 0.995, "--delta", 0.2).err.split())
    refused = command(*predict, "--alpha", 0.05, "--delta", 0.2).message
    assert "at most 5 % with 80 % confidence cannot be promised with 11 calibration cases" in refused
    assert "it would take 32 or more" in refused
    assert "alpha = 1.5 is not between 0 and 1" in command(*predict, "--alpha", 1.5).message
    assert "delta = 0 is not between 0 and 1" in command("calibrate", name, data, *where, "--delta", 0).message
    assert "Nothing is promised: at most 5 %" in command(*predict).err


def test_the_map_that_ranks_best_on_other_cases_drives(command, models, data, tmp_path):
    name, *where = models("segwithu")
    files = {part: tmp_path / part for part in ("calibration", "validation")}
    files["calibration"].write_text("\n".join(f"case_{i}" for i in range(40, 50)))
    files["validation"].write_text("case_50")
    asked = ["calibrate", name, data, *where, "--cases", files["calibration"]]
    auto = [*asked, "--by", "auto", "--validation", files["validation"]]
    found = command(*auto, "--json", "--picture", tmp_path / "curve.png").json
    assert found["driven_by"] == min(found["aurc"], key=found["aurc"].get)
    assert (tmp_path / "curve.png").is_file()
    shown = command(*asked, "--by", "ranking").err
    assert "Driven by ranking: ECE on held-out folds" in shown
    report = command(
        "predict", name, data / "images" / "case_50.nii.gz", *where, "--output", tmp_path / "out", "--json"
    ).json
    assert report["driven_by"] == "ranking"
    assert "is both a calibration and a validation case" in command(*auto[:-1], files["calibration"]).message
    for half in (["--by", "auto"], ["--validation", files["validation"]]):
        assert "--by auto and --validation go together" in command(*asked, *half).message
    assert "has no map 'x' to drive; it has variance" in command(*asked, "--by", "x").message


def test_too_few_cases_are_refused_before_anything_runs(command, models, phantoms):
    assert (
        "needs 10 labelled cases at least, not 6" in command("calibrate", models()[0], phantoms, *models()[1:]).message
    )
