"""Every command on a model that is put together from several networks."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from Testing.Python.uncertaintyseg.imports.totalsegmentator_weights import import_composite, lay_out
from uncertaintyseg.inference.offered import offered_methods


@pytest.fixture(scope="module")
def composite(tmp_path_factory):
    return import_composite(tmp_path_factory.mktemp("composite"), 3)


@pytest.fixture(autouse=True)
def own(composite, monkeypatch) -> None:
    monkeypatch.setenv("UNCERTAINTYSEG_MODELS", str(composite[0].folder.parent))


@pytest.fixture
def predict(command, composite, tmp_path):
    def run(*options: str) -> dict:
        bundle, scans = composite
        ended = command("predict", bundle.name, scans[0], "--output", tmp_path / "out", "--json", *options)
        assert ended.code == 0, ended.err
        return ended.json

    return run


def test_it_is_listed_with_the_task_it_makes_up(command, composite):
    ended = command("models")
    assert ended.code == 0, ended.err
    assert composite[0].name in ended.err
    (found,) = [entry for entry in command("models", "--json").json if entry["name"] == composite[0].name]
    assert found["origin"]["task"] == "total_mr"


def test_its_import_names_the_parts_and_nothing_that_only_a_network_has(command, tmp_path, monkeypatch):
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(lay_out(tmp_path / "weights", "total_mr", patch=32)))
    ended = command("import", "totalsegmentator", "--task", "total_mr", "--output", tmp_path / "models")
    assert ended.code == 0, ended.err
    assert "2 parts: " in ended.err
    rows = {line.split("│")[1].strip() for line in ended.err.splitlines() if line.startswith("│")}
    assert rows >= {"source", "labels", "parts"}
    assert not rows & {"folds", "patch"}


def test_of_many_structures_those_found_are_printed_with_the_largest_error_first(command, predict, composite, tmp_path):
    report = predict()
    bundle, scans = composite
    ended = command("predict", bundle.name, scans[0], "--output", tmp_path / "out")
    assert ended.code == 0, ended.err
    errors = {row["name"]: row["expected_error_ml"] for row in report["structures"] if row["volume_ml"]}
    printed = [line.split("│")[1].strip() for line in ended.err.splitlines() if line.startswith("│")]
    printed = [name for name in printed if name in bundle_names(bundle)]
    assert set(printed) == set(errors)
    assert [errors[name] for name in printed] == sorted(errors.values(), reverse=True)
    assert f"{len(bundle.labels) - len(errors)} structures not found, " in ended.err


def test_few_structures_are_all_printed(command, composite, tmp_path):
    bundle, scans = composite
    ended = command("predict", bundle.name, scans[0], "--output", tmp_path / "out", "--structures", "liver,spleen")
    assert "--json has them all" not in ended.err


def test_named_structures_alone_get_maps(predict):
    report = predict("--structures", "liver,spleen")
    assert {row["name"] for row in report["structures"]} == {"liver", "spleen"}
    assert {name for name in report["maps"] if name.startswith("probability_")} == {
        "probability_liver",
        "probability_spleen",
    }


def test_outside_a_region_of_interest_nothing_is_said(predict, tmp_path):
    report = predict("--roi", "2,8,3,9,2,8")
    assert "valid" in report["maps"]
    valid = np.asarray(nib.load(tmp_path / "out" / "valid.nii.gz").dataobj) > 0
    expected = np.zeros(valid.shape, bool)
    expected[2:8, 3:9, 2:8] = True
    assert np.array_equal(valid, expected)


@pytest.mark.parametrize(
    "options",
    [
        ("noise", "--option", "passes=2"),
        ("dropout_injection", "--option", "passes=4", "--option", "p=0.2"),
        ("tta", "--option", "scales=[0.75,1]"),
    ],
    ids=["noise", "dropout", "tta"],
)
def test_passes_give_answers_that_disagree(predict, options, tmp_path):
    predict("--method", *options)
    variance = np.asarray(nib.load(tmp_path / "out" / "variance.nii.gz").dataobj)
    assert variance.max() > 0


def test_mirroring_that_it_was_not_trained_for_is_no_pass_and_said(command, composite):
    bundle, scans = composite
    message = command("predict", bundle.name, scans[0], "--method", "tta").message
    assert "trained without mirroring" in message
    assert "scales=[0.75,1,1.25]" in message


def test_it_is_evaluated_and_labels_are_audited(command, composite):
    bundle, scans = composite
    data = scans[0].parents[1]
    evaluated = command("evaluate", bundle.name, data, "--json").json
    assert evaluated["n"] == len(scans)
    assert {"spleen", "gallbladder"} <= set(evaluated["structures"])
    assert evaluated["structures"]["spleen"]["dice"]["mean"] < 0.5  # random labels
    audited = command("audit", data, "--model", bundle.name, "--json").json
    assert (audited["n"], audited["failed"]) == (len(scans), {})
    errors = [row["excess_error_ml"] for row in audited["structures"]]
    assert errors == sorted(errors, reverse=True)
    assert {row["name"] for row in audited["structures"][:6]} <= {label.name for label in bundle.labels if label.id < 5}


def test_a_head_is_refused_with_the_reason(command, composite):
    bundle, scans = composite
    message = command("predict", bundle.name, scans[0], "--method", "low_rank").message
    assert "put together from 2 networks" in message


def bundle_names(bundle) -> set[str]:
    return {label.name for label in bundle.labels}


def test_what_none_of_its_parts_can_run_is_not_offered(composite):
    offered = {method.name: method for method in offered_methods(composite[0])}
    assert [part.symmetries for part in composite[0].parts] == [[], []]
    assert set(offered) == {"dropout_injection", "noise", "fused"}
    (components,) = [option for option in offered["fused"].options if option.name == "components"]
    assert components.choices == ["dropout_injection", "noise"]
    assert components.required
