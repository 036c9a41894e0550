"""Several folds as one network: what it says of itself is what the parts say, and it predicts."""

from __future__ import annotations

import json

import numpy as np
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.inference.bundle import INFERENCE, WEIGHTS, Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.weights import save_weights


def test_a_model_of_two_folds_predicts_their_mixture(tmp_path):
    path = tiny.write_bundle(tmp_path)
    config = json.loads((path / INFERENCE).read_text(encoding="utf-8"))
    config["network_def"] = {
        "_target_": "uncertaintyseg.imports.members.Folds", "network": config["network_def"], "count": 2,
    }  # fmt: skip
    (path / INFERENCE).write_text(json.dumps(config))
    torch.manual_seed(0)
    folds = Bundle.load(path).network(weights=False)
    for network in folds.networks:
        torch.nn.init.normal_(network.head.mean.weight)
    save_weights(folds, path / WEIGHTS, exact=True)
    assert folds.features == folds.backbone.features == 4
    write_volume(tmp_path / "scan.nii.gz", np.random.default_rng(0).normal(0, 100, tiny.SHAPE), np.diag([3, 3, 6, 1]))
    found = Predictor(Bundle.load(path)).predict(tmp_path / "scan.nii.gz", samples=2)
    assert found.label.any()
    assert found.maps["mutual_information"].max() > 0
