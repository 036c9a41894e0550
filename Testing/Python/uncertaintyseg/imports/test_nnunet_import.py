"""The import of nnU-Net trainings: what comes in, and under which names."""

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

from Testing.Python.uncertaintyseg.imports.nnunet_folder import edit, edit_checkpoint, refused
from uncertaintyseg.errors import InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.imports.checkpoint import read_checkpoint
from uncertaintyseg.inference.bundle import INFERENCE


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
