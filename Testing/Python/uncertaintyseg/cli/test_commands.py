"""The commands' contracts: JSON on stdout and nothing else, everything for people on stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg import __version__
from uncertaintyseg.inference.bundle import find_bundles

COMMANDS = (
    "models",
    "methods",
    "predict",
    "correct",
    "inspect",
    "evaluate",
    "audit",
    "train",
    "simulate",
    "convert",
    "serve",
    "token",
    "demo",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_each_command(command, name):
    ended = command(name, "--help")
    assert ended.code == 0
    assert "Usage: " in ended.out
    assert len(ended.out) > 200
    if name in {"predict", "evaluate", "train", "demo"}:
        assert "Example" in ended.out


def test_help_lists_every_command_and_the_version_is_that_of_the_package(command):
    overview = command("--help").out
    assert all(name in overview for name in COMMANDS)
    assert command("--version").out.strip() == __version__


def test_an_unknown_option_ends_with_two(command):
    ended = command("models", "--nonsense")
    assert ended.code == 2
    assert ended.out == ""
    assert "--nonsense" in ended.err


def test_models_lists_shipped_and_further_models(command, models):
    name, *options = models("low_rank")
    listed = {entry["name"]: entry for entry in command("models", *options, "--json").json}
    assert set(find_bundles()) | {name} == set(listed)
    entry = listed[name]
    assert entry.keys() >= {"name", "head", "labels", "checksum"}
    assert entry["head"] == "low_rank"
    assert [(label["id"], label["name"]) for label in entry["labels"]] == [(1, "organ"), (2, "lesion")]
    assert len(entry["checksum"]) == 64
    assert entry["trained"]


def test_methods_lists_heads_and_passes_with_source_and_maps(command):
    listed = {entry["name"]: entry for entry in command("methods", "--json").json}
    assert {"low_rank", "laplace", "segwithu", "tta", "mc_dropout", "noise", "ensemble"} <= listed.keys()
    for entry in listed.values():
        assert entry.keys() == {"name", "kind", "paper", "summary", "passes", "maps", "options"}
    ended = command("methods")
    assert ended.out == ""
    assert "dropout_injection" in ended.err


def test_any_method_is_evaluated_on_any_model(command, models, windows, tmp_path):
    (tmp_path / "ids.txt").write_text("case_0")
    options = [*models(), windows, "--cases", tmp_path / "ids.txt", "--json"]
    plain = command("evaluate", *options).json
    noisy = command("evaluate", *options, "--method", "noise", "--option", "passes=2", "--option", "sigma=1.0").json
    assert plain["nll"] != noisy["nll"]
    message = command("evaluate", *options, "--method", "laplace").message
    assert "--head laplace" in message
    assert "passes=10" in command("evaluate", *options, "--method", "noise", "--option", "passes").message


def test_a_head_is_trained_on_any_model_and_found_by_its_method(command, models, windows, scan, tmp_path):
    name, *where = models()
    common = [windows, *where, "--output", tmp_path / "runs", "--json"]
    made = command("train", name, *common, "--head", "diagonal", "--option", "kl=paper", "--epochs", 1).json
    assert made["model"] == "tiny_diagonal"
    report = command(
        "predict", name, scan, *where, "--models", tmp_path / "runs", "--method", "diagonal", "--output",
        tmp_path / "out", "--json",
    ).json  # fmt: skip
    assert report["provenance"]["weights_checksum"] == made["checksum"]
    assert "--head" in command("train", name, *common, "--option", "kl=paper").message


def test_without_json_a_table_goes_to_stderr(command, models):
    name, *options = models()
    ended = command("models", *options)
    assert ended.code == 0
    assert ended.out == ""
    assert name[:8] in ended.err


def test_predict_writes_what_its_json_says(command, models, scan, tmp_path):
    ended = command("predict", *models("low_rank"), scan, "--output", tmp_path / "out", "--seed", 3, "--json")
    report = ended.json
    assert report.keys() >= {"label", "maps", "structures", "provenance", "seconds"}
    paths = [Path(path) for path in (report["label"], *report["maps"].values())]
    assert all(path.is_absolute() and path.parent == tmp_path / "out" for path in paths)
    assert nib.load(report["label"]).shape == nib.load(scan).shape
    assert {"variance", "predictive_entropy", "mutual_information", "error_probability"} <= report["maps"].keys()
    assert {"probability_organ", "variance_lesion"} <= report["maps"].keys()
    for row in report["structures"]:
        assert row.keys() >= {"name", "id", "volume_ml", "volume_ml_95", "mean_risk", "expected_dice", "flag"}
        low, high = row["volume_ml_95"]
        assert low <= high
    assert report["provenance"]["seed"] == 3
    assert all(isinstance(seconds, float) for seconds in report["seconds"].values())
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8")) == report


def test_predict_looks_where_and_for_what_it_is_asked(command, models, scan, tmp_path):
    where = models()
    size = nib.load(scan).shape
    box = [(0, size[0] - 2), (2, size[1]), (1, size[2])]
    roi = ",".join(str(end) for span in box for end in span)
    asked = ("--structures", "lesion", "--roi", roi)
    report = command("predict", *where, scan, "--output", tmp_path / "out", *asked, "--json").json
    assert [row["name"] for row in report["structures"]] == ["lesion"]
    assert "probability_organ" not in report["maps"]
    label, seen = (nib.load(report["label"] if n is None else report["maps"][n]).get_fdata() for n in (None, "valid"))
    inside = np.zeros(size, bool)
    inside[tuple(slice(*span) for span in box)] = True
    np.testing.assert_array_equal(seen > 0, inside)
    assert not label[~inside].any()
    assert report["provenance"]["params"] == {"structures": ["lesion"], "region": [list(span) for span in box]}

    ended = command("predict", *where, scan, "--structures", "lesoin")
    assert ended.code
    assert "did you mean lesion?" in " ".join(ended.err.split())
    ended = command("predict", *where, scan, "--roi", "1,2,3")
    assert ended.code
    assert "x0,x1,y0,y1,z0,z1" in " ".join(ended.err.split())


def test_predict_tells_people_what_it_found(command, models, scan, tmp_path):
    ended = command("predict", *models(), scan, "--output", tmp_path / "out")
    assert (ended.code, ended.out) == (0, "")
    assert "organ" in ended.err
    assert "10 maps" in ended.err


def test_evaluate_keeps_its_contract(command, models, windows, tmp_path):
    (tmp_path / "ids.json").write_text('["case_1", "case_0"]')
    options = models("mixture_of_bases", parts=2)
    result = command("evaluate", *options, windows, "--cases", tmp_path / "ids.json", "--json").json
    assert result.keys() >= {
        "model", "n", "structures", "nll", "ece", "ece_bins", "seconds_per_case", "cases",
    }  # fmt: skip
    assert (result["model"], result["n"], result["ece_bins"]) == ("tiny_mixture_of_bases", 2, 15)
    assert [case["id"] for case in result["cases"]] == ["case_1", "case_0"]
    for row in result["structures"].values():
        assert row["dice"].keys() == {"mean", "lo", "hi"}
        assert row["dice"]["mean"] is None or row["dice"]["lo"] <= row["dice"]["mean"] <= row["dice"]["hi"]
    assert result["nll"] > 0
    assert 0 <= result["ece"] <= 1


def test_a_dice_without_cases_is_null_in_json(command, tmp_path):
    bundle = tiny.write_threshold_bundle(tmp_path / "models")
    dark = np.full((12, 12, 8), -150, np.float32)
    dark[0] = -160
    for part, array in (("images", dark), ("labels", np.zeros(dark.shape, np.uint8))):
        (tmp_path / part).mkdir()
        nib.Nifti1Image(array, np.diag([3, 3, 6, 1.0])).to_filename(tmp_path / part / "dark.nii.gz")
    options = ["--models", bundle.folder.parent, "--json", "--picture", tmp_path / "figures.png"]
    result = command("evaluate", bundle.name, tmp_path, *options).json
    assert (tmp_path / "figures.png").stat().st_size > 10_000
    assert result["structures"]["organ"]["dice"] == {"mean": None, "lo": None, "hi": None}
    assert result["cases"][0]["dice"]["organ"] is None


def test_cases_are_chosen_by_a_list_a_file_or_a_split(command, models, windows, tmp_path):
    options = [*models(), windows, "--json", "--cases"]
    (tmp_path / "ids.txt").write_text("case_2\n\ncase_0\n")
    assert command("evaluate", *options, tmp_path / "ids.txt").json["n"] == 2
    split = {"train": ["case_0"], "validation": ["case_1"], "calibration": [], "test": ["case_2"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    (case,) = command("evaluate", *options, f"{tmp_path / 'split.json'}:test").json["cases"]
    assert case["id"] == "case_2"


def test_both_stages_are_trained_and_the_result_predicts(command, windows, scan, tmp_path):
    """What a user types: a backbone, then a head on it, then a prediction with the head."""
    for head, options in (("deterministic", {}), ("low_rank", {"rank": 2})):
        tiny.write_bundle(tmp_path / "models", head, recipe={"validate_every": 1}, **options)
    common = [windows, "--models", tmp_path / "models", "--output", tmp_path / "runs", "--epochs", 1, "--json"]
    backbone = command("train", "tiny_deterministic", *common).json
    assert backbone["folder"] == str(tmp_path / "runs" / "tiny_deterministic")
    assert (backbone["best_epoch"], backbone["epochs"]) == (1, 1)
    assert backbone["validation"].keys() == {"dice", "nll"}
    head = command("train", "tiny_low_rank", *common, "--objective", "marginal_nll").json
    assert head["checksum"] != backbone["checksum"]
    report = command(
        "predict", "tiny_low_rank", scan, "--models", tmp_path / "runs", "--output", tmp_path / "out", "--json"
    ).json
    assert report["provenance"]["weights_checksum"] == head["checksum"]


def test_a_split_says_who_trains_and_who_validates(command, models, windows, tmp_path):
    split = {"train": ["case_0", "case_1"], "validation": ["case_2"], "calibration": [], "test": []}
    (tmp_path / "split.json").write_text(json.dumps(split))
    options = ["--output", tmp_path / "runs", "--epochs", 1, "--split", tmp_path / "split.json"]
    ended = command("train", *models(), windows, *options)
    assert (ended.code, ended.out) == (0, "")
    assert "best epoch 1 of 1" in ended.err


def test_a_real_process_prints_json_only(models, scan, tmp_path):
    arguments = ["predict", *models(), str(scan), "--output", "relative", "--json"]
    result = subprocess.run(
        [sys.executable, "-m", "uncertaintyseg.cli", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(json.loads(result.stdout)["label"]) == tmp_path / "relative" / "label.nii.gz"
    assert "Traceback" not in result.stderr


def test_listing_models_starts_without_torch():
    program = """
import sys
from uncertaintyseg.cli import main
sys.argv[1:] = ["models", "--json"]
try:
    main()
finally:
    sys.exit("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    assert json.loads(result.stdout)


@pytest.mark.parametrize(("modality", "said"), [("MR", "looks like a CT"), ("CT", ""), (None, "")])
def test_predict_warns_of_a_scan_that_is_not_what_the_model_was_trained_on(
    command, models, windows, tmp_path, modality, said
):
    name, *options = models()
    metadata = Path(options[1]) / name / "configs" / "metadata.json"
    described = json.loads(metadata.read_text(encoding="utf-8"))
    described["uncertainty"]["modality"] = modality
    metadata.write_text(json.dumps(described))
    scan = windows / "images" / "case_0.nii.gz"
    ended = command("predict", name, scan, "--output", tmp_path / "prediction", *options, "--json")
    assert ended.code == 0
    assert ended.json["structures"]
    assert ("Warning:" in ended.err) == bool(said)
    assert said in " ".join(ended.err.split())
