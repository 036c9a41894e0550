"""Every row of the table of methods, run in Slicer on a real server: the same label and maps as on the command line."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import slicer
import torch

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from monailabel_app.app.infer_task import InferParams
from Testing.Python.servers import ROOT, SERVE
from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.uncertaintyseg import flat, sam_folders, tiny
from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.cli import main
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.bundle import METADATA
from uncertaintyseg.inference.methods import check_options
from uncertaintyseg.inference.run_settings import asked_crf, asked_threshold
from UncertaintySegLib.logic import settings
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.panel.segment_section import SegmentSection

_ROW = re.compile(r"^\| `(\w+)` \| (head|passes)\b", re.MULTILINE)
ROWS = dict(_ROW.findall((ROOT / "docs" / "methods.md").read_text(encoding="utf-8")))
SHORT = {
    "mc_dropout": {"passes": 3},
    "dropout_injection": {"passes": 3, "last": 2},
    "noise": {"passes": 3, "value_range": (-1.5, 1.5), "image_std": 0.5},
    "tta": {"symmetries": "flips"},
    "examples": {"passes": 3},
    "prompt_jitter": {"passes": 3, "jitter": 0.2},
    "fused": {"components": ("tta", "dropout_injection"), "symmetries": "flips"},
}
"""Settings that differ from the defaults, and keep a run short."""
DROPOUT = "tiny_deterministic"
"""A network with layers of dropout, around which passes run; an ensemble is of shipped ones."""
SHOWN = "shown_organs"
"""One that was shown three slices of another phantom."""
SAM = "asked_sam"
"""One that is asked for what the Dropout U-Net finds."""
OWN = {"ensemble": "hippocampus_deterministic", "examples": SHOWN, "prompt_jitter": SAM}
"""Models of passes that do not run on that network."""


@pytest.fixture(scope="module")
def own_models(tmp_path_factory) -> Path:
    """A folder with a Dropout U-Net, a UniverSeg that was shown slices, and a SAM where it can be loaded."""
    folder = tmp_path_factory.mktemp("own")
    backbone = {"_target_": "uncertaintyseg.backbones.DynUNetBackbone", "filters": [4, 8, 8], "dropout": 0.2}
    tiny.give_random_weights(tiny.write_bundle(folder, backbone=backbone, spacing=(1, 1, 1)))
    others = tmp_path_factory.mktemp("others")
    tiny.write_phantoms(others, 1, 7, shape=(24, 28, 20), spacing=(1, 1, 1))
    torch.manual_seed(0)
    torch.save(UniverSeg((4, 5)).state_dict(), others / "us.pt")
    bundle = import_model(others / "us.pt", output=folder, name=SHOWN, patch="32", examples=others, slices=3)
    imported = [bundle]
    if find_spec("transformers"):
        given = sam_folders.write_folder(others / "sam", "sam")
        imported.append(import_model(given, output=folder, name=SAM, labels=",".join(tiny.STRUCTURES[:2])))
    for bundle in imported:
        metadata = json.loads((bundle.folder / METADATA).read_text(encoding="utf-8"))
        metadata["uncertainty"]["task"] = bundle.name.split("_", maxsplit=1)[0]  # as in the lists of the panel
        (bundle.folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def method_server(launch, own_models, tmp_path_factory):
    """All shipped models and the Dropout U-Net, over a small volume and a small image."""
    folder = tmp_path_factory.mktemp("scans")
    tiny.write_phantoms(folder, 1, shape=(24, 28, 20), spacing=(1, 1, 1))
    server = launch(
        [*SERVE, "--models", str(own_models), "--cache", str(folder / "cache")], [folder / "images" / "case_0.nii.gz"]
    )
    picture = nib.Nifti1Image(flat.frame(0)[0].T[..., None], np.diag([-0.5, -0.5, 1, 1]))
    picture.to_filename(server.studies / "head.nii.gz")
    server.wait_until(lambda: server.images() == ["case_0", "head"])
    return server


@pytest.fixture
def annotator(host, method_server, tmp_path):
    settings.remember("runs", "")
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at([CasesSection, SegmentSection, RiskSection], tmp_path / "downloads") as annotator:
        yield annotator
        annotator.session.close_case()
    settings.remember("runs", "")


def model_of(method: str, server) -> str:
    """A model that a row of the table runs on: one with that head, or any network around which passes run."""
    if ROWS[method] == "passes":
        return OWN.get(method, DROPOUT)
    shipped = server.http.get("/info/").json()["models"]
    return next(name for task in ("hippocampus", "ultrasound") if (name := f"{task}_{method}") in shipped)


def widget(annotator, name: str):
    """The newest of its name: those of a method that was chosen before go only when Qt has nothing else to do."""
    return slicer.util.findChildren(annotator.segment.ui.optionsWidget, name=f"{name}Option")[0]


def change(annotator, option, value) -> None:
    """Set a setting as a person does, at its widget."""
    import qt

    shown = widget(annotator, option.name)
    if option.kind == "switch":
        shown.setChecked(value)
    elif option.kind == "choice":
        shown.setCurrentIndex([shown.itemText(place) for place in range(shown.count)].index(value))
    elif option.kind == "choices":
        for row in sorted(range(shown.count), key=lambda row: shown.item(row).text() not in value):
            ticked = shown.item(row).text() in value
            shown.item(row).setCheckState(qt.Qt.Checked if ticked else qt.Qt.Unchecked)
    elif option.kind == "numbers":
        shown.setText(", ".join(f"{number:g}" for number in value))
    else:
        shown.setValue(value)


def choose_method(annotator, method: str):
    """The method at its widget; returns what the server says of it."""
    ui = annotator.segment.ui
    ui.runGroupBox.collapsed = False
    annotator.choose(ui.methodComboBox, method.replace("_", " "))
    return next(each for each in annotator.segment.model.methods if each.name == method)


def predict(model: str, scan: Path, folder: Path, *options: str) -> dict:
    """The command line's own, in this process; returns its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["uncertaintyseg", "predict", model, str(scan), "--output", str(folder), *options])
        with suppress(SystemExit):  # a command's usual end; without a report it failed
            main()
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def values_of(file: Path) -> np.ndarray:
    """A volume of the command line with the axes of an array of the scene."""
    return nib.load(file).get_fdata().transpose(2, 1, 0)


@pytest.mark.parametrize("method", ROWS)
def test_a_method_says_the_same_in_slicer_as_on_the_command_line(
    method, annotator, method_server, own_models, tmp_path
):
    model = model_of(method, method_server)
    if model == SAM:
        pytest.importorskip("transformers")
    scan = method_server.studies / ("head.nii.gz" if model.startswith("ultrasound") else "case_0.nii.gz")
    annotator.begin(method_server.url, model, scan.name.split(".")[0])
    chosen = SHORT.get(method, {})
    if ROWS[method] == "passes":
        known = {option.name: option for option in choose_method(annotator, method).options}
        for name, value in chosen.items():
            change(annotator, known[name], value)
    prompted = {"prompt_from": DROPOUT, "prompt_plane": "coronal"} if model == SAM else {}
    for option in annotator.segment.model.run_options:
        if option.name in prompted:
            change(annotator, option, prompted[option.name])
    annotator.run()
    state = annotator.session.state
    assert not state.is_error, annotator.status
    result = state.result
    assert (result.provenance["model"], result.provenance["head"]) == (model, annotator.segment.model.head)
    said = [f"--option={name}={json.dumps(value)}" for name, value in chosen.items()]
    passes = ["--method", method, *said] if ROWS[method] == "passes" else []
    if prompted:
        passes += ["--prompts-from", DROPOUT, "--plane", prompted["prompt_plane"]]
    report = predict(model, scan, tmp_path / "told", *passes, "--models", str(own_models))
    assert sorted(report["maps"]) == sorted(result.maps)
    assert ROWS[method] == "head" or result.provenance["params"]["method"] == method
    np.testing.assert_array_equal(annotator.scene.label_ids(), values_of(tmp_path / "told" / "label.nii.gz"))
    told = {row["name"]: row["volume_ml"] for row in report["structures"]}
    assert {row.name: row.volume_ml for row in result.structures} == pytest.approx(told)
    assert all((row.shape is not None) == (row.volume_ml > 0) for row in result.structures)
    maps = annotator.panel.sections["Risk"].ui.mapComboBox
    seen = set()
    for place in range(1, maps.count):
        maps.setCurrentIndex(place)
        annotator.wait()
        name = annotator.scene.shown
        shown = slicer.util.arrayFromVolume(annotator.scene.maps[name])
        step = (result.maps[name].range[1] - result.maps[name].range[0]) / 65535
        expected = values_of(tmp_path / "told" / f"{name}.nii.gz")
        np.testing.assert_allclose(shown, expected, rtol=0, atol=2 * step, err_msg=name)
        seen.add(name)
    of_structures = {name for name in result.maps if name.startswith(("probability_", "variance_"))}
    assert seen >= set(result.maps) - of_structures  # of those of single structures one is shown


def other_value(option, default):
    """A value of a setting that is not its default."""
    if option.kind == "switch":
        return not default
    if option.kind == "choice":
        return next(name for name in option.choices if name != default)
    if option.kind == "choices":
        fewer = tuple(option.choices[: max(option.fewest, 1)])
        return fewer if fewer != default else tuple(option.choices)
    if option.kind == "numbers":
        return (0.5,) if option.most != 2 else (0.25, 0.75)
    low = -1 if option.low is None else option.low
    value = low + 1 if option.kind == "integer" else (low + min(option.high, low + 2)) / 2
    return value if value != default else value + 1


@pytest.mark.parametrize("model", ["hippocampus_low_rank", DROPOUT])
def test_all_that_info_lists_of_a_method_can_be_sent_from_the_panel_and_is_taken(model, annotator, method_server):
    annotator.begin(method_server.url, model, "case_0")
    listed = method_server.http.get("/info/").json()["models"][model]["methods"]
    for method in listed:
        about = choose_method(annotator, method["name"])
        assert [option.name for option in about.options] == [option["name"] for option in method["options"]]
        given = {option.name: other_value(option, option.default) for option in about.options}
        for option in about.options:
            change(annotator, option, given[option.name])
        told = annotator.segment._run.params(annotator.segment.model, confined=True)
        assert told["method"] == method["name"]
        sent = json.loads(json.dumps(told["options"]))
        differing = {
            option.name: given[option.name] for option in about.options if given[option.name] != option.default
        }
        assert sent == json.loads(json.dumps(differing)), method["name"]
        assert given == differing or method["name"] == "ensemble"  # of which there may be one
        check_options(method["name"], {name: value for name, value in sent.items() if name != "models"})
    assert {method["name"] for method in listed} == {row for row, kind in ROWS.items() if kind == "passes"} - {
        "examples", "prompt_jitter", "mc_dropout" if model.startswith("hippocampus") else "ensemble"
    }  # fmt: skip


def test_all_that_info_lists_for_every_run_can_be_sent_from_the_panel_and_is_taken(annotator, method_server):
    annotator.begin(method_server.url, "hippocampus_low_rank", "case_0")
    model = annotator.segment.model
    listed = method_server.http.get("/info/").json()["models"][model.name]["run_options"]
    assert [option.name for option in model.run_options] == [option["name"] for option in listed]
    sent = {}
    for threshold in ("otsu", "percentile", "mean_std", "fixed"):
        for option in model.run_options:
            value = threshold if option.name == "threshold" else other_value(option, option.default)
            change(annotator, option, value)
        told = annotator.segment._run.params(model, confined=True)
        InferParams.read(told, strict=True)
        asked_crf(told), asked_threshold(told)
        sent |= told
    assert set(sent) == {option["name"] for option in listed}
