"""The two-stage fit, run for real on a few small phantoms."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import TRAINING, Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.training.fit import UNFINISHED, FitReport, Keeper, fit
from uncertaintyseg.training.recipe import Recipe

SLICEWISE = {
    "_target_": "uncertaintyseg.backbones.AttentionUNetBackbone", "filters": [4, 6], "spatial_dims": 2,
}  # fmt: skip


class Killed(BaseException):
    """As abrupt as a signal: nothing catches it."""


def kill_at(epoch: int):
    def progress(stage: str, fraction: float) -> None:
        if stage.startswith(f"epoch {epoch}/"):
            raise Killed

    return progress


def weights(bundle: Bundle) -> dict[str, np.ndarray]:
    return load_file(bundle.weights)


def assert_equal_weights(one: Bundle, other: Bundle) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def cases(windows) -> list[Case]:
    return read_cases(windows)


@pytest.fixture(scope="module")
def scan(windows) -> Path:
    return windows / "images" / "case_0.nii.gz"


@dataclass
class Fitted:
    report: FitReport
    progress: list[tuple[str, float]]
    source: Path
    output: Path


@pytest.fixture(scope="module")
def backbone(tmp_path_factory, cases) -> Fitted:
    """Stage one: three epochs on three cases."""
    folder, said = tmp_path_factory.mktemp("backbone"), []
    source = tiny.write_bundle(folder / "models", recipe={"epochs": 3, "learning_rate": 0.02})
    report = fit(Bundle.load(source), cases[:3], cases[3:5], folder / "runs", progress=lambda *what: said.append(what))
    return Fitted(report, said, source, folder / "runs")


def test_a_fit_leaves_a_bundle_that_predicts(backbone, scan):
    report = backbone.report
    assert report.bundle.folder == backbone.output / "tiny_deterministic"
    assert report.epochs == 3
    assert 1 <= report.best_epoch <= 3
    assert report.validation.keys() == {"dice", "nll"}
    assert 0 <= report.validation["dice"] <= 1
    assert len(report.bundle.checksum) == 64
    assert Predictor(report.bundle).predict(scan).label.any()
    assert not (report.bundle.folder / UNFINISHED).exists()
    assert not list(report.bundle.folder.rglob("*.partial"))


def test_a_fit_leaves_the_bundle_it_started_from_alone(backbone):
    assert Bundle.load(backbone.source).checksum == ""


def test_progress_never_goes_back_within_the_epochs(backbone):
    fractions = [fraction for stage, fraction in backbone.progress if stage.startswith("epoch")]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert any("best dice" in stage for stage, _ in backbone.progress)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(backbone, cases, tmp_path):
    bundle = Bundle.load(backbone.source)
    again = fit(bundle, cases[:3], cases[3:5], tmp_path / "again")
    assert_equal_weights(again.bundle, backbone.report.bundle)
    other = fit(bundle, cases[:3], cases[3:5], tmp_path / "other", recipe=Recipe.load(bundle, seed=1))
    assert other.bundle.checksum != again.bundle.checksum


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_killed_fit_goes_on_as_if_nothing_had_happened(backbone, cases, tmp_path, epoch):
    bundle = Bundle.load(backbone.source)
    with pytest.raises(Killed):
        fit(bundle, cases[:3], cases[3:5], tmp_path, progress=kill_at(epoch))
    assert any((tmp_path / bundle.name / UNFINISHED).glob("*")) == (epoch > 1)
    said = []
    resumed = fit(bundle, cases[:3], cases[3:5], tmp_path, progress=lambda stage, _: said.append(stage))
    assert_equal_weights(resumed.bundle, backbone.report.bundle)
    assert (resumed.best_epoch, resumed.validation) == (backbone.report.best_epoch, backbone.report.validation)
    assert next(stage for stage in said if stage.startswith("epoch")).startswith(f"epoch {epoch}/3")
    assert (resumed.resumed, resumed.anew) == (epoch - 1, False)


THESIS = {
    "objective": "hybrid",
    "schedule": "plateau",
    "optimizer": "adam",
    "clip": 1.0,
    "rare_labels": [2],
    "epochs": 3,
    "learning_rate": 0.02,
}


@pytest.mark.parametrize("slices", [False, True])
def test_a_killed_fit_with_plateau_and_rare_structures_goes_on_too(backbone, cases, tmp_path, slices):
    bundle = Bundle.load(backbone.source)
    recipe = Recipe.load(
        bundle, **THESIS, slices=slices, batch_size=8 if slices else 2, crop=(24, 24, 1 if slices else 12)
    )
    bundle = Bundle.load(tiny.write_bundle(tmp_path / "models", backbone=SLICEWISE)) if slices else bundle
    whole = fit(bundle, cases[:2], cases[3:4], tmp_path / "whole", recipe=recipe)
    with pytest.raises(Killed):
        fit(bundle, cases[:2], cases[3:4], tmp_path / "killed", recipe=recipe, progress=kill_at(3))
    resumed = fit(bundle, cases[:2], cases[3:4], tmp_path / "killed", recipe=recipe)
    assert_equal_weights(resumed.bundle, whole.bundle)
    assert resumed.validation == whole.validation


PLANNED = {"steps_per_epoch": 3, "foreground": 0.5, "deep_supervision": True, "optimizer": "sgd", "epochs": 3}


def test_a_killed_fit_of_patches_with_inner_stages_goes_on_too(backbone, cases, tmp_path):
    bundle = Bundle.load(tiny.write_bundle(tmp_path / "models", filters=(4, 6, 8, 8), window=(16, 16, 8)))
    recipe = Recipe.load(bundle, **PLANNED)
    whole = fit(bundle, cases[:2], cases[3:4], tmp_path / "whole", recipe=recipe)
    assert whole.epochs == 3
    assert not any("readout" in name for name in weights(whole.bundle))
    for epoch in (2, 3):
        with pytest.raises(Killed):
            fit(bundle, cases[:2], cases[3:4], tmp_path / "killed", recipe=recipe, progress=kill_at(epoch))
    resumed = fit(bundle, cases[:2], cases[3:4], tmp_path / "killed", recipe=recipe)
    assert_equal_weights(resumed.bundle, whole.bundle)
    assert resumed.validation == whole.validation
    plain = fit(bundle, cases[:2], cases[3:4], tmp_path / "plain",
                recipe=recipe.model_copy(update={"deep_supervision": False}))  # fmt: skip
    assert plain.bundle.checksum != whole.bundle.checksum


def test_patches_of_slices_are_refused(backbone, cases, tmp_path):
    bundle = Bundle.load(tiny.write_bundle(tmp_path / "models", backbone=SLICEWISE))
    recipe = Recipe.load(bundle, slices=True, foreground=0.5, crop=(24, 24, 1))
    with pytest.raises(InputError, match="not of slices"):
        fit(bundle, cases[:2], cases[3:4], tmp_path / "runs", recipe=recipe)


def test_a_fit_in_vain_halves_its_rate_and_keeps_that_in_its_checkpoint(backbone, cases, tmp_path):
    bundle = Bundle.load(backbone.source)
    recipe = Recipe.load(bundle, schedule="plateau", epochs=9, patience=9, learning_rate=1e-12)
    with pytest.raises(Killed):
        fit(bundle, cases[:1], cases[3:4], tmp_path, recipe=recipe, progress=kill_at(9))
    (checkpoint,) = (tmp_path / bundle.name / UNFINISHED).glob("*.pt")
    state = torch.load(checkpoint, weights_only=True)
    assert state["schedule"]["best"] == state["keeper"]["score"]
    assert state["schedule"]["num_bad_epochs"] == 1


def test_a_killed_fit_starts_anew_when_asked_to(backbone, cases, tmp_path):
    bundle = Bundle.load(backbone.source)
    with pytest.raises(Killed):
        fit(bundle, cases[:3], cases[3:5], tmp_path, progress=kill_at(3))
    said = []
    fit(bundle, cases[:3], cases[3:5], tmp_path, resume=False, progress=lambda stage, _: said.append(stage))
    assert next(stage for stage in said if stage.startswith("epoch")).startswith("epoch 1/3")


@pytest.mark.parametrize("change", [{"epochs": 2}, {"seed": 1}, {"objective": "expected_ce"}])
def test_a_fit_with_other_settings_does_not_go_on_from_the_killed_one(backbone, cases, tmp_path, change):
    bundle = Bundle.load(backbone.source)
    with pytest.raises(Killed):
        fit(bundle, cases[:2], cases[3:4], tmp_path, progress=kill_at(3))
    said = []
    fit(
        bundle,
        cases[:2],
        cases[3:4],
        tmp_path,
        recipe=Recipe.load(bundle, **change),
        progress=lambda stage, _: said.append(stage),
    )
    assert next(stage for stage in said if stage.startswith("epoch")).startswith("epoch 1/")


def write_head(backbone: Fitted, folder: Path, head: str, recipe: dict | None = None, **options) -> Bundle:
    return Bundle.load(tiny.write_bundle(folder, head, recipe=recipe, **options))


@pytest.mark.parametrize(
    ("head", "options"), [("low_rank", {"rank": 2}), ("mixture_of_bases", {"rank": 4, "parts": 2})]
)
def test_a_head_is_fitted_on_the_backbone_beside_it(backbone, cases, tmp_path, head, options):
    bundle = write_head(backbone, tmp_path / "models", head, {"backbone": "frozen"}, **options)
    report = fit(bundle, cases[:3], cases[3:5], tmp_path / "runs", models=[backbone.output])
    trained, start = weights(report.bundle), weights(backbone.report.bundle)
    for name, value in start.items():
        if name.startswith("backbone."):
            assert np.array_equal(trained[name], value), name
    assert not np.array_equal(trained["head.log_variance.weight"], np.zeros_like(trained["head.log_variance.weight"]))
    with pytest.raises(Killed):
        fit(bundle, cases[:3], cases[3:5], tmp_path / "killed", models=[backbone.output], progress=kill_at(2))
    resumed = fit(bundle, cases[:3], cases[3:5], tmp_path / "killed", models=[backbone.output])
    assert_equal_weights(resumed.bundle, report.bundle)


def test_a_fine_tuned_backbone_moves_with_its_head(backbone, cases, tmp_path):
    bundle = write_head(backbone, tmp_path / "models", "low_rank", {"epochs": 1, "backbone": "fine-tuned"}, rank=2)
    report = fit(bundle, cases[:2], cases[3:4], tmp_path / "runs", models=[backbone.output])
    trained, start = weights(report.bundle), weights(backbone.report.bundle)
    moved = [name for name in start if name.startswith("backbone.") and not np.array_equal(trained[name], start[name])]
    assert len(moved) > 10


def test_a_head_without_its_initial_model_is_refused_by_name(backbone, cases, tmp_path):
    bundle = write_head(backbone, tmp_path / "models", "low_rank", rank=2)
    with pytest.raises(BundleError, match="there is no model 'tiny_deterministic'"):
        fit(bundle, cases[:2], cases[3:4], tmp_path / "runs")
    with pytest.raises(BundleError, match=r"models/model\.safetensors is missing: train the model first"):
        fit(bundle, cases[:2], cases[3:4], tmp_path / "runs", models=[backbone.source.parent])


def test_a_head_whose_recipe_names_no_initial_model_is_refused(backbone, cases, tmp_path):
    bundle = write_head(backbone, tmp_path / "models", "low_rank", {"initial": None}, rank=2)
    with pytest.raises(BundleError, match=r"'recipe\.initial'"):
        fit(bundle, cases[:2], cases[3:4], tmp_path / "runs")


def test_a_head_does_not_fit_on_a_backbone_of_another_architecture(backbone, cases, tmp_path):
    bundle = write_head(backbone, tmp_path / "models", "low_rank", filters=(6, 8, 8))
    with pytest.raises(BundleError, match="weights of another architecture"):
        fit(bundle, cases[:2], cases[3:4], tmp_path / "runs", models=[backbone.output])


def test_a_fit_that_no_longer_improves_stops_early(backbone, cases, tmp_path):
    bundle = Bundle.load(backbone.source)
    recipe = Recipe.load(bundle, epochs=30, patience=2, learning_rate=1e-12)
    report = fit(bundle, cases[:1], cases[3:4], tmp_path, recipe=recipe)
    assert report.best_epoch == 1
    assert report.epochs == 3


def test_fewer_epochs_than_the_interval_of_validation_still_give_weights(backbone, cases, tmp_path):
    bundle = Bundle.load(backbone.source)
    recipe = Recipe.load(bundle, epochs=1, validate_every=4)
    assert fit(bundle, cases[:1], cases[3:4], tmp_path, recipe=recipe).bundle.checksum


class _Stub:
    """What the keeper needs of a trainer."""

    def __init__(self) -> None:
        self.terminated = False

    def at(self, epoch: int):
        self.state = type("State", (), {"epoch": epoch})
        return self

    def terminate(self) -> None:
        self.terminated = True


def test_the_best_weights_are_kept_not_the_last(tiny_bundle):
    bundle = tiny_bundle("deterministic")
    network = bundle.network()
    keeper, trainer = Keeper(network, bundle, "nll", patience=2), _Stub()
    for epoch, nll in enumerate([0.9, 0.5, 0.7, 0.6], start=1):
        network.head.mean.bias.data.fill_(epoch)
        keeper.take({"dice": 0.1 * epoch, "nll": nll}, [0.1 * epoch], trainer.at(epoch))
    assert keeper.state["epoch"] == 2
    assert keeper.state["best"]["nll"] == 0.5
    assert trainer.terminated
    assert (load_file(bundle.weights)["head.mean.bias"] == 2).all()


def test_cases_without_a_label_are_left_out_and_a_set_without_any_is_refused(backbone, cases, tmp_path):
    bundle, bare = Bundle.load(backbone.source), [Case("bare", cases[0].image, None)]
    with pytest.raises(InputError, match="the training set has no labelled case"):
        fit(bundle, bare, cases[3:4], tmp_path)
    with pytest.raises(InputError, match="the validation set has no labelled case"):
        fit(bundle, cases[:1], bare, tmp_path)


def test_a_label_with_an_unknown_class_is_named(backbone, cases, tmp_path):
    label = read_label(cases[0].label)
    wrong = label.numpy()[0].copy()
    wrong[0, 0, 0] = 7
    write_volume(tmp_path / "wrong.nii.gz", wrong, label.affine)
    with pytest.raises(InputError, match=r"wrong\.nii\.gz: unknown class id 7"):
        fit(
            Bundle.load(backbone.source),
            [Case("wrong", cases[0].image, tmp_path / "wrong.nii.gz")],
            cases[3:4],
            tmp_path / "runs",
        )


def test_an_output_that_cannot_be_written_is_named(backbone, cases, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"file.*choose another output folder"):
        fit(Bundle.load(backbone.source), cases[:1], cases[3:4], tmp_path / "file")


def test_a_refused_fit_leaves_earlier_weights_alone(backbone, cases, tmp_path):
    shutil.copytree(backbone.output, tmp_path / "runs")
    with pytest.raises(InputError):
        fit(Bundle.load(backbone.source), [], cases[3:4], tmp_path / "runs")
    assert Bundle.load(tmp_path / "runs" / "tiny_deterministic").checksum == backbone.report.bundle.checksum


def test_a_device_that_is_not_there_is_refused(backbone, cases, tmp_path):
    with pytest.raises(InputError, match="device 'nonsense'"):
        fit(Bundle.load(backbone.source), cases[:1], cases[3:4], tmp_path, device="nonsense")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, r"train\.json: 'recipe\.epochs'"),
        ({"speed": 1}, r"train\.json: 'recipe\.speed'"),
        ({"objective": "nonsense"}, "there is no objective 'nonsense'"),
        ({"estimator": "magic"}, r"train\.json: 'recipe\.estimator'"),
        ({"schedule": "stairs"}, r"train\.json: 'recipe\.schedule'"),
        ({"optimizer": "lion"}, r"train\.json: 'recipe\.optimizer'"),
        ({"steps_per_epoch": 0}, r"train\.json: 'recipe\.steps_per_epoch'"),
        ({"foreground": 1.5}, r"train\.json: 'recipe\.foreground'"),
        ({"clip": 0}, r"train\.json: 'recipe\.clip'"),
        ({"rare_labels": [3]}, r"'recipe\.rare_labels' names class 3"),
        ({"objective": "hybrid", "class_weights": [1, 2]}, r"'recipe\.class_weights' needs 3 positive numbers"),
    ],
)
def test_a_wrong_recipe_names_its_field(backbone, cases, tmp_path, change, message):
    source = Path(shutil.copytree(backbone.source, tmp_path / "tiny_deterministic"))
    config = json.loads((source / TRAINING).read_text(encoding="utf-8"))
    config["recipe"] |= change
    (source / TRAINING).write_text(json.dumps(config))
    with pytest.raises((BundleError, InputError), match=message):
        fit(Bundle.load(source), cases[:1], cases[3:4], tmp_path / "runs")


def test_a_bundle_without_a_recipe_cannot_be_trained(backbone, tmp_path):
    source = Path(shutil.copytree(backbone.source, tmp_path / "tiny_deterministic"))
    (source / TRAINING).write_text("{}")
    with pytest.raises(BundleError, match="no 'recipe' section"):
        Recipe.load(Bundle.load(source))
    (source / TRAINING).write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        Recipe.load(Bundle.load(source))
    (source / TRAINING).unlink()
    with pytest.raises(BundleError, match=r"has no configs/train\.json"):
        Recipe.load(Bundle.load(source))


def test_asked_changes_win_over_the_recipe(backbone):
    bundle = Bundle.load(backbone.source)
    assert Recipe.load(bundle, epochs=9, seed=None).model_dump() == {**Recipe.load(bundle).model_dump(), "epochs": 9}


def test_labels_in_totalsegmentator_folders_can_be_trained_on(tmp_path, cases):
    for case in cases[:2]:
        folder = tmp_path / "data" / f"s{case.id}"
        (folder / "segmentations").mkdir(parents=True)
        shutil.copy(case.image, folder / "ct.nii.gz")
        label = read_label(case.label)
        for name, class_id in (("organ", 1), ("lesion", 2)):
            mask = (label[0].numpy() == class_id).astype(np.uint8)
            write_volume(folder / "segmentations" / f"{name}.nii.gz", mask, label.affine.numpy())
    found = read_cases(tmp_path / "data")
    bundle = Bundle.load(tiny.write_bundle(tmp_path / "models", recipe={}))
    recipe = Recipe.load(bundle, epochs=1)
    assert fit(bundle, found[:1], found[1:], tmp_path / "out", recipe=recipe).bundle.checksum
