"""The import of nnU-Net trainings: what comes in, what is refused, and that nothing of a folder is ever run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.imports.checkpoint import read_checkpoint
from uncertaintyseg.inference.bundle import INFERENCE

REAL = find_real_data("nnunet_hippocampus")
pytestmark = pytest.mark.skipif(REAL is None, reason="no real data beside the checkout")


@pytest.fixture
def training(tmp_path) -> Path:
    """A copy of the real folder, to be damaged."""
    folder = tmp_path / "Dataset004_Hippocampus" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    shutil.copytree(REAL, folder, ignore=shutil.ignore_patterns("golden"))
    return folder


@pytest.fixture
def models(tmp_path) -> Path:
    return tmp_path / "models"


def edit(path: Path, **changes) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes))


def edit_configuration(training: Path, **changes) -> None:
    plans = json.loads((training / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"] |= changes
    (training / "plans.json").write_text(json.dumps(plans))


def edit_architecture(training: Path, **changes) -> None:
    plans = json.loads((training / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"]["architecture"] |= changes
    (training / "plans.json").write_text(json.dumps(plans))


def edit_arguments(training: Path, **changes) -> None:
    plans = json.loads((training / "plans.json").read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"] |= changes
    (training / "plans.json").write_text(json.dumps(plans))


def edit_checkpoint(training: Path, **changes) -> None:
    path = training / "fold_0" / "checkpoint_final.pth"
    content = read_checkpoint(path) | changes
    torch.save({key: value for key, value in content.items() if value is not Ellipsis}, path)


def refused(training: Path, models: Path, *words: str, **options) -> None:
    """The import fails with a message that has the words, and leaves nothing behind."""
    with pytest.raises((BundleError, InputError)) as error:
        import_model(training, output=models, **options)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not models.exists() or not list(models.iterdir())


def test_a_real_folder_becomes_a_model_that_tells_where_it_came_from(training, models):
    bundle = import_model(training, output=models)
    assert bundle.name == "hippocampus_nnunet"
    assert [(label.id, label.name) for label in bundle.labels] == [(1, "anterior"), (2, "posterior")]
    origin = bundle.uncertainty.origin
    assert origin["source"] == "nnunet"
    assert origin["folder"] == "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert origin["folds"] == ["0"]
    assert origin["trainer"] == "nnUNetTrainer_10epochs"
    assert bundle.uncertainty.modality == "MR"
    assert bundle.setting("window") == [32, 32, 32]
    assert bundle.setting("mirrors") == bundle.setting("symmetries") == [0, 1, 2]
    assert (bundle.setting("layout"), bundle.setting("average")) == ("nnunet", "logits")
    assert str(training) not in (bundle.folder / "configs" / "metadata.json").read_text(encoding="utf-8")


def test_weights_keep_every_bit(training, models):
    bundle = import_model(training, output=models)
    found = load_file(bundle.weights)
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert sum(value.numel() for value in found.values()) == 40_238 - (16 * 3 + 3)  # but the lower segmentation layer


def test_its_taps_are_what_enters_each_step_up(training, models):
    network = import_model(training, output=models).network()
    assert network.backbone.taps == {"up_0": 32, "up_1": 16}
    assert network.divisor == (4, 4, 4)
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features, taps = network.backbone.tapped(image, ("up_0", "up_1"))
        assert torch.equal(features, network.backbone(image))
    assert features.shape == (1, 8, 16, 16, 16)
    assert taps["up_0"].shape == (1, 32, 8, 8, 8)
    assert taps["up_1"].shape == (1, 16, 16, 16, 16)


def test_a_zip_gives_the_same_model_as_its_folder(training, models, tmp_path):
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(training.rglob("*")):
            packed.write(path, Path("nnUNet_results") / path.relative_to(training.parents[1]))
        packed.writestr("../../outside.txt", "left where it is")
    bundle = import_model(archive, output=models, name="zipped")
    assert bundle.checksum == import_model(training, output=models).checksum
    assert bundle.uncertainty.origin["folder"] == "Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert not (tmp_path / "outside.txt").exists()


def test_the_folder_of_a_data_set_stands_for_its_only_training(training, models):
    assert import_model(training.parent, output=models).name == "hippocampus_nnunet"


def test_of_several_trainings_one_has_to_be_named(training, models):
    shutil.copytree(training, training.with_name("nnUNetTrainer__nnUNetPlans__3d_lowres"))
    refused(training.parent, models, "several trainings", "3d_lowres")


def test_a_name_that_is_taken_stays_with_who_has_it(training, models):
    first = import_model(training, output=models)
    with pytest.raises(InputError, match="has a model 'hippocampus_nnunet' already"):
        import_model(training, output=models)
    assert import_model(training, output=models, name="second").checksum == first.checksum
    assert sorted(path.name for path in models.iterdir()) == ["hippocampus_nnunet", "second"]


def test_fold_all_stands_alone(training, models):
    shutil.copytree(training / "fold_0", training / "fold_all")
    assert import_model(training, output=models, name="folds").uncertainty.origin["folds"] == ["0"]
    shutil.rmtree(training / "fold_0")
    assert import_model(training, output=models, name="alone").uncertainty.origin["folds"] == ["all"]


def test_a_training_that_never_mirrored_allows_no_flip_and_one_that_does_not_say_is_not_that(training, models):
    edit_checkpoint(training, inference_allowed_mirroring_axes=None)
    bundle = import_model(training, output=models, name="none")
    assert bundle.setting("mirrors") == bundle.setting("symmetries") == []
    edit_checkpoint(training, inference_allowed_mirroring_axes=...)
    bundle = import_model(training, output=models, name="unknown")
    assert bundle.setting("mirrors") == []
    assert bundle.config.get("symmetries") is None


def test_without_mirroring_flips_stay_allowed(training, models):
    bundle = import_model(training, output=models, mirroring=False)
    assert bundle.setting("mirrors") == []
    assert bundle.setting("symmetries") == [0, 1, 2]


def test_names_of_compiled_or_parallel_networks_are_stripped(training, models):
    plain = import_model(training, output=models, name="plain")
    weights = read_checkpoint(training / "fold_0" / "checkpoint_final.pth")["network_weights"]
    edit_checkpoint(training, network_weights={f"_orig_mod.module.{name}": value for name, value in weights.items()})
    assert import_model(training, output=models, name="wrapped").checksum == plain.checksum


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


HOSTILE = {
    "$import os; os.system('touch was_here')": 1,
    "@bundle_root": 2,
}


def test_hostile_names_are_cleaned_visibly_and_never_evaluated(training, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    edit(training / "dataset.json", labels={"background": 0, **HOSTILE}, channel_names={"0": "%window"})
    bundle = import_model(training, output=models)
    names = [label.name for label in bundle.labels]
    assert names == ["import os_ os.system(_touch was_here_)", "bundle_root"]
    assert bundle.uncertainty.origin["renamed"] == dict(zip(HOSTILE, names, strict=True))
    network, preprocessing = bundle.network(), bundle.preprocessing()
    assert network.head.classes == 3
    assert preprocessing.transforms[0].labels == {names[0]: 1, names[1]: 2}
    assert not (tmp_path / "was_here").exists()
    texts = [
        text
        for text in _texts(json.loads((bundle.folder / INFERENCE).read_text(encoding="utf-8")))
        if text[:1] in "$@%"
    ]
    assert set(texts) == {
        "", "@spacing", "@bundle_root", "@device", "$@bundle_root + '/eval'",
        "$@predictor.predict_folder(@dataset_dir, @output_dir)",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["../../etc", "a/b", "a\\b", "a\nb", "\x1b[31m", "_target_", "läsion", "..", "日本"])
def test_names_become_names_of_files_that_stay_where_they_belong(training, models, name):
    edit(training / "dataset.json", labels={"background": 0, name: 1, "posterior": 2})
    found = import_model(training, output=models).labels[0].name
    assert found == {"läsion": "lasion", "_target_": "target", "日本": "structure_1", "..": "structure_1"}.get(
        name, found
    )
    assert not set(found) & set("/\\\n\x1b$@%")
    assert found.strip("._ ") == found != ""


def test_names_that_become_the_same_stay_apart(training, models):
    edit(training / "dataset.json", labels={"background": 0, "a/b": 1, "A_B": 2})
    assert [label.name for label in import_model(training, output=models).labels] == ["a_b", "A_B (2)"]


def _texts(value):
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *_texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is not here")
sys.meta_path.insert(0, Blocked())
sys.argv = ["uncertaintyseg", *{arguments}]
from uncertaintyseg.cli import main
main()
"""


def run_without(*blocked: str, arguments: list[str]) -> subprocess.CompletedProcess:
    program = BLOCK.format(blocked=set(blocked), arguments=arguments)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", timeout=300)


def test_the_import_needs_no_nnunet(training, models):
    ended = run_without(
        "nnunetv2",
        "timm",
        "batchgenerators",
        "acvl_utils",
        arguments=["import", str(training), "--output", str(models)],
    )
    assert ended.returncode == 0, ended.stderr
    assert "hippocampus_nnunet" in ended.stderr
    assert (models / "hippocampus_nnunet" / "models" / "model.safetensors").is_file()


def test_without_the_package_of_its_networks_the_line_that_installs_it_is_told(training, models):
    ended = run_without(
        "dynamic_network_architectures", arguments=["import", str(training), "--output", str(models)]
    )  # fmt: skip
    assert ended.returncode == 2
    assert "pip install --no-deps dynamic-network-architectures" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not models.exists() or not list(models.iterdir())
