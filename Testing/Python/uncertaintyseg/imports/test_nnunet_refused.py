"""Trainings of nnU-Net that are refused: damaged, of another kind, or hostile; nothing of a folder is ever run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from Testing.Python.uncertaintyseg.imports.nnunet_folder import (
    edit,
    edit_architecture,
    edit_arguments,
    edit_checkpoint,
    edit_configuration,
    refused,
)


def test_what_is_no_training_is_refused(models, tmp_path):
    refused(tmp_path / "absent", models, "nothing that can be imported")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", models, "nothing that can be imported", "nnU-Net v2 folder")


@pytest.mark.parametrize("name", ["dataset.json", "plans.json"])
def test_a_missing_or_broken_description_is_named(training, models, name):
    text = (training / name).read_text(encoding="utf-8")
    (training / name).write_text(text[: len(text) // 2])
    refused(training, models, name, "not valid JSON")
    (training / name).unlink()
    refused(training, models, f"has no {name}")


def test_plans_of_another_version_are_refused(training, models):
    edit(training / "plans.json", configurations=None)
    refused(training, models, "plans.json", "version 1")


def test_folds_that_are_missing_are_named(training, models):
    refused(training, models, "no checkpoint of fold 3", "there are 0", fold="0,3")
    shutil.rmtree(training / "fold_0")
    refused(training, models, "no fold_*/checkpoint_final.pth")


def test_a_checkpoint_that_is_cut_short_is_refused(training, models):
    path = training / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:30_000])
    refused(training, models, "checkpoint_final.pth in fold_0", "cut short")


class _Evil:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return (open, (self.path, "w"))


def test_a_checkpoint_that_holds_more_than_numbers_is_refused_and_not_run(training, models, tmp_path):
    edit_checkpoint(training, logging=_Evil(tmp_path / "was_here"))
    refused(training, models, "checkpoint_final.pth in fold_0", "holds more than tensors")
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize("missing", ["network_weights", "trainer_name", "init_args"])
def test_a_checkpoint_without_what_nnunet_writes_is_refused(training, models, missing):
    edit_checkpoint(training, **{missing: ...})
    refused(training, models, "no checkpoint of nnU-Net v2")


def test_weights_of_another_network_are_refused(training, models):
    edit_arguments(training, features_per_stage=[8, 16, 24])
    refused(training, models, "another network than plans.json describes", "tensors differ, first")


def test_another_number_of_classes_is_refused(training, models):
    edit(training / "dataset.json", labels={"background": 0, "anterior": 1})
    refused(training, models, "3 output channels", "dataset.json 2 classes")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({"background": 0, "a": 1, "b": 3}, ("1, 3", "without gaps")),
        ({"background": 0, "a": 1, "b": 2, "ignore": 7}, ("'ignore' is 7", "after all others, 3")),
        ({"a": 1, "b": 2}, ("background",)),
        ({"background": 0, "a": "1", "b": 2}, ("'a' is '1'",)),
        ({"background": 0, "a": [1, 2], "b": [2, 3]}, ("regions_class_order",)),
    ],
)
def test_labels_that_no_network_can_mean_are_refused(training, models, labels, words):
    edit(training / "dataset.json", labels=labels)
    refused(training, models, "dataset.json", *words)


def test_regions_that_are_not_nested_are_refused(training, models):
    labels = {"background": 0, "left": [1, 2], "right": [2, 3]}
    edit(training / "dataset.json", labels=labels, regions_class_order=[1, 3])
    refused(training, models, "'right' does not lie within 'left'", "only nested")


def test_two_dimensional_and_cascaded_configurations_are_refused(training, models):
    edit_configuration(training, previous_stage="3d_lowres")
    refused(training, models, "cascade", "3d_lowres")
    edit_configuration(training, previous_stage=None, patch_size=[56, 40])
    refused(training, models, "2D configuration")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resampling_fn_data": "no_resampling_data_or_seg_to_shape"}, ("resampling_fn_data", "no_resampling")),
        ({"normalization_schemes": ["MyNormalization"]}, ("MyNormalization", "CTNormalization")),
        ({"preprocessor_name": "MyPreprocessor"}, ("preprocessor_name", "MyPreprocessor")),
        ({"spacing": [1.0, 0.0, 1.0]}, ("positive",)),
        ({"patch_size": [32, "$1", 32]}, ("patch_size",)),
        ({"inherits_from": "3d_fullres"}, ("no end",)),
        ({"use_mask_for_norm": []}, ("differ in length",)),
    ],
)
def test_what_plans_say_beyond_what_is_known_is_refused(training, models, changes, words):
    edit_configuration(training, **changes)
    refused(training, models, "plans.json", *words)


def test_unknown_readers_are_refused(training, models):
    edit(training / "plans.json", image_reader_writer="NaturalImage2DIO")
    refused(training, models, "image_reader_writer", "NaturalImage2DIO")


@pytest.mark.parametrize(
    "name", ["os.system", "dynamic_network_architectures.architectures.primus.Primus", "$import os"]
)
def test_networks_outside_the_list_are_refused(training, models, name):
    edit_architecture(training, network_class_name=name)
    refused(training, models, "plans.json", name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conv_op", "torch.nn.modules.conv.Conv2d"),
        ("norm_op", "os.system"),
        ("nonlin", "torch.nn.utils.weight_norm"),
        ("dropout_op", "torch.hub.load"),
        ("norm_op_kwargs", {"device": "$1"}),
        ("block", "os.system"),
        ("n_conv_per_stage", [1, 1]),
    ],
)
def test_arguments_of_networks_outside_the_list_are_refused(training, models, key, value):
    edit_arguments(training, **{key: value})
    refused(training, models, "plans.json")


@pytest.mark.parametrize("name", ["nnUNetTrainerMine", "os.system", "nnUNet_Primus_M_Trainer", "nnUNetTrainer; exit"])
def test_trainers_that_may_build_another_network_are_refused(training, models, name):
    edit_checkpoint(training, trainer_name=name)
    refused(training, models, "the trainer", name)


def test_options_of_other_sources_are_refused(training, models):
    refused(training, models, "no option --task", "--fold", task="total")
