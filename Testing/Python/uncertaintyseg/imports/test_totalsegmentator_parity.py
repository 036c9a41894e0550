"""Label and maps against the answers that the real TotalSegmentator gave (`Testing/proof/test_g_totalsegmentator.py`).

It ran as it is, on the weights and the scan of `totalsegmentator_weights`. nnU-Net adds windows up in half precision:
where two classes of a network are all but equal, its label is the luck of rounding; everywhere else labels are equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
from scipy.special import entr

from Testing.Python.uncertaintyseg.imports.totalsegmentator_weights import PATCHES, lay_out, write_ct
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictors import load_predictor

ANSWERS = Path(__file__).with_name("answers")
_TIE = 0.05
"""Logits closer than this are all but equal: sums of weighted logits near 10, and the weights, are off by 1 in 2048."""


class Run(NamedTuple):
    scan: Path
    bundle: Bundle
    prediction: Prediction
    stages: list[tuple[str, float]]


class Part(NamedTuple):
    probability: np.ndarray
    """`[C, *S]`."""
    label: np.ndarray
    tie: np.ndarray
    """Where its two likeliest classes are all but equal."""


@pytest.fixture(scope="module", params=["total_fast", "total"])
def run(request, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    scan, stages = write_ct(folder / "ct.nii.gz"), []
    with pytest.MonkeyPatch.context() as patch:
        weights = lay_out(folder / "weights", request.param, patch=PATCHES[request.param])
        patch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
        bundle = import_model(Path("totalsegmentator"), output=folder / "models", task=request.param)
    tell = lambda stage, fraction: stages.append((stage, fraction))  # noqa: E731
    return Run(scan, bundle, load_predictor(bundle).predict(scan, progress=tell), stages)


@pytest.fixture(scope="module")
def parts(run) -> list[Part]:
    """What each network says by itself."""
    found = []
    for bundle in run.bundle.parts or [run.bundle]:
        prediction = load_predictor(bundle).predict(run.scan)
        structures = np.stack([prediction.maps[f"probability_{label.name}"] for label in bundle.labels])
        p = np.concatenate([1 - structures.sum(0, keepdims=True), structures]).clip(1e-30)
        second, first = np.sort(p, 0)[-2:]
        found.append(Part(p, prediction.label, np.log(first / second) < _TIE))
    return found


def test_the_label_is_the_one_that_totalsegmentator_gave(run, parts):
    task = run.bundle.uncertainty.origin["task"]
    theirs = np.asarray(nib.load(ANSWERS / f"totalsegmentator_{task}.nii.gz").dataobj)
    assert len(np.unique(theirs)) > 10
    differ = run.prediction.label != theirs
    ties = np.any([part.tie for part in parts], axis=0)
    assert not (differ & ~ties).any()
    assert differ.sum() < 0.005 * (theirs > 0).sum()


def test_the_whole_is_what_its_parts_say_one_after_another(run, parts):
    maps = run.prediction.maps
    ids = [part.labels for part in run.bundle.uncertainty.parts or []]
    if not ids:
        pytest.skip("one network")
    label, rest = np.zeros_like(parts[0].label), np.ones(parts[0].label.shape)
    whole = np.zeros((118, *label.shape))
    for own, part in zip(ids, parts, strict=True):
        merged = np.array([0, *own], np.uint8)[part.label]
        label = np.where(merged > 0, merged, label)
    for own, part in zip(reversed(ids), reversed(parts), strict=True):
        whole[own] = part.probability[1:] * rest
        rest = rest * part.probability[0]
    whole[0] = rest
    assert np.array_equal(run.prediction.label, label)
    second, first = np.sort(whole, 0)[-2:]
    for item in run.bundle.labels:
        np.testing.assert_allclose(maps[f"probability_{item.name}"], whole[item.id], atol=2e-6)
    np.testing.assert_allclose(maps["predictive_entropy"], entr(whole).sum(0), atol=2e-4)
    np.testing.assert_allclose(maps["margin_risk"], 1 - (first - second), atol=5e-6)
    error = 1 - np.take_along_axis(whole, label[None].astype(int), 0)[0]
    np.testing.assert_allclose(maps["error_probability"], error, atol=5e-6)
    assert (error > 0.5).any()
    assert not maps["variance"].any()
    assert run.prediction.map_info["error_probability"].range == (0, 1)
    assert run.prediction.provenance.weights_checksum == run.bundle.checksum


def test_progress_says_which_part_and_never_goes_back(run):
    fractions = [fraction for _, fraction in run.stages]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    count = len(run.bundle.parts)
    assert any(f"part 2 of {count}" in stage for stage, _ in run.stages) == (count > 1)


def test_parts_without_a_named_structure_do_not_run_and_the_maps_say_so(run, parts):
    if not run.bundle.parts:
        pytest.skip("one network")
    stages: list[str] = []
    tell = lambda stage, fraction: stages.append(stage)  # noqa: E731
    found = load_predictor(run.bundle).predict(run.scan, structures=["rib_left_1"], progress=tell)
    assert "running the network, 1 of 1 windows" in stages
    ids = run.bundle.uncertainty.parts[4].labels
    assert np.array_equal(found.label, np.array([0, *ids], np.uint8)[parts[4].label])
    assert [name for name in found.maps if name.startswith("probability_")] == ["probability_rib_left_1"]
    assert "number 1, 2, 3, 4 did not run" in found.map_info["error_probability"].description
    assert [row.name for row in found.structures] == ["rib_left_1"]


def test_what_a_merge_cannot_do_is_refused(run):
    if not run.bundle.parts:
        pytest.skip("one network")
    with pytest.raises(InputError, match="a CRF is not possible"):
        load_predictor(run.bundle, crf=CRF())
    with pytest.raises(InputError, match="a threshold is not possible"):
        load_predictor(run.bundle, threshold="otsu")


def test_a_scan_that_takes_more_than_there_is_is_refused_before_anything_runs(run, tmp_path):
    write_volume(tmp_path / "microns.nii.gz", np.arange(2.0**17).reshape(64, 64, 32), np.diag([500, 500, 900, 1]))
    stages: list[str] = []
    tell = lambda stage, fraction: stages.append(stage)  # noqa: E731
    with pytest.raises(InputError, match=r"microns\.nii\.gz: 32000 x 32000 x 28800 mm: needs \d+\.\d GB of memory"):
        load_predictor(run.bundle).predict(tmp_path / "microns.nii.gz", progress=tell)
    assert stages == ["reading the scan"]
