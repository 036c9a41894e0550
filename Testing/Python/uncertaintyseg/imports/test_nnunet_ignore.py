"""Voxels that nobody labelled, nnU-Net's `ignore`: nothing is fitted to them, and nothing is judged there."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score

from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import METADATA, Bundle
from uncertaintyseg.inference.calibrating import calibrate
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.stream import WindowLayout
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.posterior import WindowedFeatures
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.variant import with_head

IGNORE = 3


@pytest.fixture(scope="module")
def made(imported):
    return imported("ignore")


@pytest.fixture(scope="module")
def case(made, tmp_path_factory) -> Case:
    """Most of its planes are not labelled."""
    volume = nib.load(made.label)
    label = np.asarray(volume.dataobj).copy()
    label[:, 5:] = IGNORE
    path = tmp_path_factory.mktemp("ignored") / "case.nii.gz"
    write_volume(path, label, volume.affine)
    return Case("case", made.images[0], path)


def test_they_come_to_the_models_grid_as_nnunet_brings_them(made, case):
    from Testing.Python.uncertaintyseg.imports import nnunet_oracle

    found = made.bundle.preprocessing()({"image": case.image, "label": case.label})["label"][0].numpy()
    _, label = nnunet_oracle.preprocessed(made.training, made.images, case.label)
    assert np.array_equal(found == -1, label == IGNORE)
    assert np.array_equal(np.maximum(found, 0), np.where(label == IGNORE, 0, np.maximum(label, 0)))


def test_what_nobody_verified_is_resampled_as_an_ignored_id_is(made, case, tmp_path):
    volume = nib.load(case.label)
    label = np.asarray(volume.dataobj)
    write_volume(tmp_path / "seen.nii.gz", (label != IGNORE).astype(np.uint8), volume.affine)
    write_volume(tmp_path / "label.nii.gz", np.where(label == IGNORE, 1, label).astype(np.uint8), volume.affine)
    ready = made.bundle.preprocessing()
    expected = ready({"image": case.image, "label": case.label})["label"]
    given = {"image": case.image, "label": tmp_path / "label.nii.gz", "verified": tmp_path / "seen.nii.gz"}
    assert torch.equal(ready(given)["label"], expected)


def test_a_temperature_is_that_of_the_labelled_voxels(made, case):
    model = with_head(made.bundle, "temperature", made.bundle.folder.parent)
    found = fit(model, [case], [case], made.bundle.folder.parent).validation
    ready = made.bundle.preprocessing()({"image": case.image, "label": case.label})
    image, label = (ready[key].as_tensor()[None] for key in ("image", "label"))
    network = made.bundle.network().eval()
    layout = WindowLayout.of(made.bundle, network.divisor)
    numbers = torch.arange(label.numel()).reshape(label.shape)
    parts = list(WindowedFeatures(network, [(image, numbers)], layout, lambda: None))
    with torch.no_grad():
        logits = torch.cat([network.head.mean(features)[0].flatten(1) for features, _ in parts], 1)
    target = label.flatten()[torch.cat([numbers.flatten() for _, numbers in parts])].long()
    logits, target = logits[:, target >= 0].double(), target[target >= 0]

    def nll(inverse: float) -> float:
        return float(torch.nn.functional.cross_entropy(inverse * logits.T, target))

    best = minimize_scalar(nll, bounds=(1 / 20, 1 / 0.05), method="bounded", options={"xatol": 1e-6})
    assert found["validation_nll"] == pytest.approx(best.fun, rel=1e-4)
    assert found["plain_validation_nll"] == pytest.approx(nll(1.0), rel=1e-4)


def test_a_posterior_counts_the_labelled_voxels(made, case):
    model = with_head(made.bundle, "laplace", made.bundle.folder.parent)
    found = fit(model, [case], [case], made.bundle.folder.parent).validation
    label = made.bundle.preprocessing()({"image": case.image, "label": case.label})["label"]
    assert found["training_voxels"] == (label >= 0).sum() < label.numel() / 2
    assert all(np.isfinite(value) for value in found.values())


def test_a_head_that_learns_by_gradient_learns_from_the_labelled_voxels(made, case):
    model = with_head(made.bundle, "diagonal", made.bundle.folder.parent)
    recipe = Recipe.load(model, epochs=1)
    found = fit(model, [case], [case], made.bundle.folder.parent, recipe=recipe)
    assert found.best_epoch == 1
    assert np.isfinite(found.validation["nll"])


def test_scores_are_those_of_the_labelled_voxels(made, case):
    predictor = Predictor(made.bundle)
    result = evaluate(predictor, [case])
    prediction, reference = predictor.predict(case.image), np.asarray(nib.load(case.label).dataobj)
    known = reference != IGNORE
    own, true = prediction.label[known], reference[known]
    structures = np.stack([np.asarray(prediction.maps[f"probability_{item.name}"]) for item in made.bundle.labels])
    p = np.concatenate([1 - structures.sum(0, keepdims=True), structures])[:, known]
    said = np.take_along_axis(p, true[None].astype(int), 0)[0]
    assert result["nll"] == pytest.approx(-np.log(np.clip(said, 1e-12, 1)).mean(), rel=1e-3)
    assert sum(result["reliability"]["share"]) == pytest.approx(1)
    for item in made.bundle.labels:
        both = (own == item.id).sum() + (true == item.id).sum()
        dice = 2 * ((own == item.id) & (true == item.id)).sum() / both
        assert result["structures"][item.name]["dice"]["mean"] == pytest.approx(dice)
        assert result["structures"][item.name]["volume_95_coverage"] is None
    auroc = roc_auc_score(own != true, np.asarray(prediction.maps["error_probability"])[known])
    assert result["error_detection"]["all"]["error_probability"]["auroc"]["mean"] == pytest.approx(auroc, abs=2e-3)


def test_a_calibration_counts_the_labelled_voxels(made, case):
    predictor = Predictor(made.bundle)
    found = calibrate(predictor, [Case(str(i), case.image, case.label) for i in range(10)])
    label, reference = predictor.predict(case.image).label, np.asarray(nib.load(case.label).dataobj)
    known = reference != IGNORE
    structures = known & (reference > 0)
    wrong = (label != reference)[known].sum() / structures.sum()
    assert found.cases[0].loss[-1] == pytest.approx(min(wrong, 1), abs=2e-5)
    assert found.cases[0].reference_ml == pytest.approx(structures.sum() * voxel_volume_ml(case_affine(case)), abs=1e-4)


def case_affine(case: Case) -> np.ndarray:
    return nib.load(case.image).affine


def test_numbers_of_its_data_set_that_mean_other_classes_come_to_the_grid_as_these(made, case, tmp_path):
    """Files that have 1 and 2 the other way round, and 7 for no verdict."""
    bundle = Bundle.load(shutil.copytree(made.bundle.folder, tmp_path / "other"))
    path = bundle.folder / METADATA
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["uncertainty"] |= {"values": {"1": 2, "2": 1}, "ignore": 7}
    path.write_text(json.dumps(metadata))
    volume = nib.load(case.label)
    theirs = np.array([0, 2, 1, 7], np.uint8)[np.asarray(volume.dataobj)]
    write_volume(tmp_path / "theirs.nii.gz", theirs, volume.affine)
    expected = made.bundle.preprocessing()({"image": case.image, "label": case.label})["label"]
    assert set(expected.unique().tolist()) == {-1, 0, 1, 2}
    found = Bundle.load(bundle.folder).preprocessing()({"image": case.image, "label": tmp_path / "theirs.nii.gz"})
    assert torch.equal(found["label"], expected)
    own = {"image": case.image, "label": made.label, "own_ids": True}
    ours = made.bundle.preprocessing()({"image": case.image, "label": made.label})["label"]
    assert torch.equal(Bundle.load(bundle.folder).preprocessing()(own)["label"], ours)
