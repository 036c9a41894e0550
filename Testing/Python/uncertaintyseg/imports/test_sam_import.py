"""Folders of SAM as models: what is read of them, what is refused, and what the models are asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from Testing.Python.uncertaintyseg import sam_folders
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.offered import origin_of

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    return sam_folders.write_folder(tmp_path_factory.mktemp("published") / "sam-tiny", "sam")


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(written, tmp_path / "sam-tiny"))


def changed(folder: Path, **values: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


@pytest.mark.parametrize(("family", "title"), [("sam", "SAM"), ("sam2", "SAM 2")])
def test_a_folder_becomes_a_model_with_its_weights(family, title, models, tmp_path):
    given = sam_folders.write_folder(tmp_path / "sam-tiny", family)
    bundle = import_model(given, output=models, labels="liver,spleen", normalization="ct:-160,240")
    assert bundle.name == "sam_tiny"
    assert [label.name for label in bundle.labels] == ["liver", "spleen"]
    assert origin_of(bundle) == "Imported from transformers (folder sam-tiny)."
    assert bundle.prompted
    assert f"{title} of sam-tiny" in bundle.description
    again = Bundle.load(bundle.folder).network().backbone.network.model.state_dict()
    theirs = sam_folders.network(family).state_dict()
    assert again.keys() == theirs.keys()
    assert all(torch.equal(again[name], value) for name, value in theirs.items())


def test_medsam_says_how_its_slices_are_made(folder, models):
    bundle = import_model(folder, output=models, like="medsam", plane="images")
    backbone = bundle.network().backbone
    assert (backbone.network.scaling, backbone.network.padded, bundle.flat) == ("unit", False, True)
    assert "MedSAM" in bundle.description


def test_published_files_of_sam_2_hold_the_model_of_videos_too(models, tmp_path):
    given = changed(sam_folders.write_folder(tmp_path / "sam2", "sam2"), model_type="sam2_video")
    state = load_file(given / "model.safetensors")
    save_file({**state, "memory_encoder.weight": torch.zeros(2)}, given / "model.safetensors", {"format": "pt"})
    assert import_model(given, output=models).prompted


def refused(folder: Path, models: Path, said: str, kind: type[Exception] = BundleError, **options: str) -> None:
    with pytest.raises(kind, match=said):
        import_model(folder, output=models, **options)
    assert not models.exists() or not list(models.iterdir())


def test_a_folder_without_a_configuration_is_refused(folder, models):
    (folder / "config.json").unlink()
    refused(folder, models, r"sam-tiny has no config\.json: give a folder with .* of one of these: SAM, SAM 2")


def test_another_architecture_is_refused_by_its_name(folder, models):
    refused(changed(folder, model_type="bert"), models, r"is of a network 'bert'; .* these will do: SAM, SAM 2")
    (folder / "config.json").write_text("{")
    refused(folder, models, r"config\.json is not valid JSON")


def test_a_configuration_that_could_be_evaluated_is_refused(folder, models):
    refused(changed(folder, vision_config={"hidden_size": "$__import__('os')"}), models, "more than names and numbers")
    refused(changed(folder, vision_config={"_target_": "os.system"}), models, "more than names and numbers")


def test_code_that_came_with_it_is_no_part_of_the_model(folder, models):
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    config = changed(folder, auto_map={"AutoModel": "evil.Evil"})
    bundle = import_model(config, output=models)
    assert "evil" not in (bundle.folder / "configs" / "inference.json").read_text()


def test_pickles_are_never_opened(folder, models):
    (folder / "model.safetensors").unlink()
    torch.save(sam_folders.network("sam"), folder / "pytorch_model.bin")
    refused(folder, models, r"pytorch_model\.bin is a pickle, which can run programs, and is never opened")
    (folder / "pytorch_model.bin").unlink()
    refused(folder, models, "has no weights: put model.safetensors beside")


def test_weights_of_another_network_are_refused(folder, models):
    state = load_file(folder / "model.safetensors")
    save_file({"more.weight": torch.zeros(1), **state}, folder / "model.safetensors", {"format": "pt"})
    refused(folder, models, "1 tensors differ, first 'more.weight'")
    less = {name: value for name, value in state.items() if "neck.conv1" not in name}
    save_file(less, folder / "model.safetensors", {"format": "pt"})
    refused(folder, models, "1 tensors differ, first 'vision_encoder.neck.conv1.weight'")
    (folder / "model.safetensors").write_bytes(b"cut")
    refused(folder, models, "cannot be read as SAM")


def test_images_of_two_sizes_are_refused(folder, models):
    config = json.loads((folder / "config.json").read_text())
    config["prompt_encoder_config"] |= {"image_size": 128, "image_embedding_size": 16}
    refused(changed(folder, **config), models, r"images of another size than its prompts are counted in \(128 pixels\)")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"normalization": "zscore"}, "SAM takes 0..1: choose unit"),
        ({"plane": "oblique"}, "the plane 'oblique' is unknown"),
        ({"like": "dinov2"}, "--like 'dinov2': choose medsam"),
        ({"patch": "64"}, "has no option --patch"),
    ],
)
def test_options_without_sense_are_refused(options, said, folder, models):
    refused(folder, models, said, InputError, **options)
