"""`uncertaintyseg train --dropout`: a Dropout U-Net, and `--method mc_dropout` on it."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from torch import nn

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.inference.bundle import INFERENCE, Bundle
from uncertaintyseg.inference.offered import offered_methods

ATTENTION = {"_target_": "uncertaintyseg.backbones.AttentionUNetBackbone", "filters": [4, 6, 8]}


@pytest.mark.parametrize("backbone", [None, ATTENTION], ids=["dynunet", "attention"])
def test_one_command_trains_it_and_mc_dropout_runs_on_it(command, windows, tmp_path, backbone):
    source = tiny.write_bundle(tmp_path / "models", backbone=backbone, recipe={"epochs": 1})
    runs = tmp_path / "runs"
    made = command(
        "train", source.name, windows, "--models", source.parent, "--dropout", "0.3", "--output", runs, "--json"
    ).json
    assert made["model"] == "tiny_dropout_unet"
    config = json.loads((Path(made["folder"]) / INFERENCE).read_text(encoding="utf-8"))
    assert config["network_def"]["backbone"]["dropout"] == 0.3
    network = Bundle.load(made["folder"]).network()
    rates = [part.p for part in network.modules() if isinstance(part, (nn.Dropout, nn.Dropout3d)) and part.p > 0]
    assert len(rates) > 3
    assert set(rates) == {0.3}
    image = next((windows / "images").iterdir())
    found = tmp_path / "found"
    command(
        "predict", made["model"], image, "--models", runs, "--method", "mc_dropout", "--option", "passes=4",
        "--output", found,
    )  # fmt: skip
    information = next(path for path in found.rglob("*mutual_information*"))
    assert np.asarray(nibabel.load(information).dataobj).max() > 0


def test_a_server_offers_mc_dropout_for_it_alone(windows, command, tmp_path):
    source = tiny.write_bundle(tmp_path / "models", recipe={"epochs": 1})
    common = ("train", source.name, windows, "--models", source.parent, "--output", tmp_path / "runs")
    named = command(*common, "--dropout", "0.1", "--name", "other", "--json").json
    assert named["model"] == "other"
    plain = {method.name for method in offered_methods(Bundle.load(source), [])}
    assert {method.name for method in offered_methods(Bundle.load(named["folder"]), [])} - plain == {"mc_dropout"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--dropout", "1"), "a chance above 0 and below 1"),
        (("--dropout", "0"), "a chance above 0 and below 1"),
        (("--dropout", "0.2", "--head", "laplace"), "make different models"),
        (("--dropout", "0.2", "--option", "rank=3"), "belongs to a new head"),
        (("--name", "other"), "add --head, --dropout or --encoder"),
    ],
)
def test_what_cannot_be_is_told(command, models, windows, tmp_path, args, message):
    ended = command("train", *models("deterministic"), windows, *args, "--output", tmp_path)
    assert message in ended.message


def test_a_head_has_no_network_of_its_own_to_put_dropout_into(command, models, windows, tmp_path):
    ended = command("train", *models("diagonal"), windows, "--dropout", "0.2", "--output", tmp_path)
    assert "trains a whole DynUNet or Attention U-Net" in ended.message
