"""`uncertaintyseg train --encoder`: a light decoder on somebody else's encoder, and heads on top of both."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from Testing.Python.uncertaintyseg import encoder_folders, flat, tiny
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.encoder import read_encoder
from uncertaintyseg.inference.bundle import INFERENCE, Bundle
from uncertaintyseg.inference.offered import origin_of
from uncertaintyseg.training.retrain import retrain
from uncertaintyseg.training.variant import with_encoder

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return encoder_folders.write_folder(tmp_path_factory.mktemp("published") / "tiny-vit", "vit")


@pytest.fixture
def source(tmp_path):
    return tiny.write_bundle(tmp_path / "models", recipe={"epochs": 1, "learning_rate": 0.01})


@pytest.fixture
def common(source, windows, tmp_path):
    return ("train", source.name, windows, "--models", source.parent, "--output", tmp_path / "runs")


def encoder_of(bundle: Bundle) -> dict[str, torch.Tensor]:
    return bundle.network().backbone.encoder.model.state_dict()


def theirs(seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights are kept in half precision."""
    state = encoder_folders.network("vit", seed).state_dict()
    return {name: value.half().float() for name, value in state.items() if not name.startswith("pooler.")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_one_command_trains_a_decoder_and_heads_stand_on_it(command, common, published, windows, tmp_path):
    made = command(*common, "--encoder", published, "--json").json
    assert made["model"] == "tiny_vit"
    bundle = Bundle.load(made["folder"])
    assert same(encoder_of(bundle), theirs())
    assert origin_of(bundle) == "On the encoder tiny-vit (ViT), as it came."
    runs = tmp_path / "runs"
    for head in ("laplace", "l_fusion"):
        extra = ("--epochs", "1") if head == "l_fusion" else ()
        onto = command(
            "train", "tiny_vit", windows, "--models", runs, "--output", runs, "--head", head, *extra, "--json"
        )
        assert onto.json["model"] == f"tiny_{head}"
        assert same(encoder_of(Bundle.load(onto.json["folder"])), theirs())
    image = next((windows / "images").iterdir())
    command("predict", "tiny_l_fusion", image, "--models", runs, "--output", tmp_path / "found")
    assert {path.name for path in (tmp_path / "found").rglob("*.nii.gz")}


def test_images_have_it_too(command, published, tmp_path):
    flat.write_pictures(tmp_path / "pictures", range(6))
    source = flat.write_flat_bundle(tmp_path / "models", recipe={"epochs": 1})
    made = command(
        "train", source.name, tmp_path / "pictures", "--models", source.parent, "--encoder", published, "--output",
        tmp_path / "runs", "--name", "seen", "--json",
    ).json  # fmt: skip
    bundle = Bundle.load(made["folder"])
    assert (bundle.name, bundle.flat) == ("seen", True)
    assert same(encoder_of(bundle), theirs())


def test_it_is_trained_further_without_the_folder(command, common, published, windows, tmp_path):
    first = Bundle.load(command(*common, "--encoder", published, "--json").json["folder"])
    runs = tmp_path / "runs"
    again = Bundle.load(
        command("train", "tiny_vit", windows, "--models", runs, "--output", runs, "--json").json["folder"]
    )
    assert again.checksum == first.checksum  # the same seed, and the same encoder
    cases = [case for case in read_cases(windows) if case.label]
    found = retrain(again, cases[:2], cases[2:3], runs, epochs=1)
    assert same(encoder_of(Bundle.load(runs / "tiny_vit")), theirs()), found.reason


def test_another_encoder_is_another_model(command, common, published, tmp_path):
    command(*common, "--encoder", published)
    other = encoder_folders.write_folder(tmp_path / "other", "vit", seed=1)
    refused = command(*common, "--encoder", other)
    assert "tiny_vit is another model already: choose another name" in refused.message


def test_before_it_was_trained_its_folder_is_asked_for(command, common, published, windows, tmp_path):
    made = Bundle.load(command(*common, "--encoder", published, "--json").json["folder"])
    shutil.rmtree(made.weights.parent)
    runs = tmp_path / "runs"
    refused = command("train", "tiny_vit", windows, "--models", runs, "--output", runs)
    assert "never trained, so it has no encoder yet: name its folder (--encoder)" in refused.message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--head", "laplace"), "--head and --encoder make different models"),
        (("--dropout", "0.2"), "--dropout and --encoder make different models"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(command, common, published, args, message):
    assert message in command(*common, "--encoder", published, *args).message


def test_a_head_has_no_recipe_for_a_decoder(command, published, windows, tmp_path):
    source = tiny.write_bundle(tmp_path / "models", head="low_rank", recipe={"epochs": 1})
    refused = command(
        "train", source.name, windows, "--models", source.parent, "--encoder", published, "--output", tmp_path / "runs",
    )  # fmt: skip
    assert "--encoder trains a decoder by the recipe of a whole network" in refused.message


def test_an_encoder_of_other_channels_is_refused(source, published, tmp_path):
    config = source / INFERENCE
    config.write_text(json.dumps(json.loads(config.read_text()) | {"channels": ["T1", "T2"]}))
    found = read_encoder(published)
    with pytest.raises(BundleError, match="takes pictures of 3 channels, and the scans have 2"):
        with_encoder(Bundle.load(source), found.settings, found.origin, tmp_path / "runs")
