"""Folders of encoders: whose weights are read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from Testing.Python.uncertaintyseg import encoder_folders
from uncertaintyseg.backbones.encoder import ENCODERS
from uncertaintyseg.backbones.hugging_face import transformers_class
from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.encoder import read_encoder

pytest.importorskip("transformers")


@pytest.fixture
def folder(tmp_path) -> Path:
    return encoder_folders.write_folder(tmp_path / "published", "vit")


def changed(folder: Path, **values: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


@pytest.mark.parametrize("kind", sorted(ENCODERS))
def test_an_encoder_is_read_with_its_weights(kind, tmp_path):
    found = read_encoder(encoder_folders.write_folder(tmp_path / "Some Encoder", kind))
    theirs = encoder_folders.network(kind).state_dict()
    own = found.encoder.model.state_dict()
    assert own.keys() == {name for name in theirs if not name.startswith("pooler.")}
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())
    assert found.settings["kind"] == kind
    assert found.origin["kind"] == ENCODERS[kind].title
    assert len(found.origin["sha256"]) == 1


def test_a_published_classifier_gives_its_encoder(tmp_path):
    """Names then begin with that of the encoder, and a layer for the classes comes after it."""
    config = transformers_class("ViTConfig")(**encoder_folders.CONFIGS["vit"], id2label={0: "sea slug, a: b"})
    classifier = transformers_class("ViTForImageClassification")(config)
    classifier.save_pretrained(tmp_path / "classifier")
    own = read_encoder(tmp_path / "classifier").encoder.model.state_dict()
    theirs = classifier.vit.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())


def test_a_folder_without_a_configuration_is_refused(folder):
    (folder / "config.json").unlink()
    with pytest.raises(BundleError, match=r"published has no config\.json: .* of one of these: ViT, DeiT"):
        read_encoder(folder)


def test_another_architecture_is_refused_by_its_name(folder):
    with pytest.raises(BundleError, match=r"is of a network 'bert'; .* these will do: ViT, .* ConvNeXt"):
        read_encoder(changed(folder, model_type="bert"))


def test_a_configuration_that_could_be_evaluated_is_refused(folder):
    with pytest.raises(BundleError, match="more than names and numbers"):
        read_encoder(changed(folder, hidden_act="$__import__('os')"))


def test_pickles_are_never_opened(folder):
    (folder / "model.safetensors").unlink()
    torch.save(encoder_folders.network("vit").state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(BundleError, match=r"pytorch_model\.bin is a pickle, which can run programs, and is never"):
        read_encoder(folder)


def test_weights_of_another_network_are_refused(folder):
    state = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in state.items() if "cls_token" not in name}, folder / "model.safetensors",
        {"format": "pt"},
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"1 tensors differ, first 'embeddings\.cls_token'"):
        read_encoder(folder)
    with pytest.raises(BundleError, match=r"tensors differ, first 'embeddings\.cls_token'"):
        read_encoder(changed(folder, hidden_size=32))


def test_weights_that_are_no_numbers_are_refused(folder):
    state = load_file(folder / "model.safetensors")
    state["embeddings.cls_token"][0, 0, 3] = torch.nan
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(BundleError, match=r"published: the weights 'embeddings\.cls_token' are not all numbers"):
        read_encoder(folder)


def test_a_configuration_that_makes_no_encoder_is_refused(folder):
    with pytest.raises(BundleError, match="makes no ViT: pictures of 30 pixels"):
        read_encoder(changed(folder, image_size=30))
