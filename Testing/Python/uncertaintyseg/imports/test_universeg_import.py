"""Weights of UniverSeg as models: what is read of them, what is refused, and what a model of examples says."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from Testing.Python.uncertaintyseg import flat, tiny
from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.imports import import_model
from uncertaintyseg.imports.universeg import of_same_patient, show_cases, shown
from uncertaintyseg.inference.bundle import METADATA, Bundle
from uncertaintyseg.inference.evaluation import evaluate
from uncertaintyseg.inference.offered import offered_methods, origin_of
from uncertaintyseg.inference.predictor import Predictor


@pytest.fixture(scope="module")
def network() -> UniverSeg:
    torch.manual_seed(0)
    return UniverSeg((4, 5)).eval()


@pytest.fixture
def weights(network, tmp_path) -> Path:
    torch.save(network.state_dict(), tmp_path / "universeg_tiny.pt")
    return tmp_path / "universeg_tiny.pt"


@pytest.fixture(scope="module")
def coarse(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("coarse")
    tiny.write_phantoms(folder, 3, **tiny.COARSE)
    return folder


@pytest.fixture
def universeg(weights, models) -> Bundle:
    return import_model(weights, output=models, patch="16")


def test_weights_of_both_kinds_are_read_as_they_are(network, weights, models, tmp_path):
    save_file(network.state_dict(), tmp_path / "same.safetensors")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "wrapped.pt")
    found = [import_model(path, output=models) for path in (weights, *tmp_path.glob("[sw]*.*"))]
    assert len({bundle.checksum for bundle in found}) == 1
    assert found[0].name == "universeg_tiny"
    assert found[0].setting("window") == [128, 128, 1]
    assert found[0].labels == []
    assert origin_of(found[0]) == "Imported from UniverSeg (folder universeg_tiny.pt)."


def test_what_holds_more_than_tensors_is_never_unpickled(models, tmp_path):
    torch.save(UniverSeg((4, 5)), tmp_path / "whole.pt")
    with pytest.raises(BundleError, match=r"whole\.pt in .* holds more than tensors and numbers, which are all"):
        import_model(tmp_path / "whole.pt", output=models)
    assert not models.exists()


def test_other_weights_under_the_same_names_are_refused(network, models, tmp_path):
    state = network.state_dict()
    torch.save({**state, "more.weight": torch.zeros(1)}, tmp_path / "more.pt")
    torch.save({n: v for n, v in state.items() if n.startswith("dec")}, tmp_path / "less.pt")
    with pytest.raises(BundleError, match=r"another network than UniverSeg: 1 tensors differ, first 'more.weight'"):
        import_model(tmp_path / "more.pt", output=models)
    with pytest.raises(BundleError, match=r"less\.pt in .* holds no weights of UniverSeg"):
        import_model(tmp_path / "less.pt", output=models)
    (tmp_path / "cut.safetensors").write_bytes(b"cross_conv")
    with pytest.raises(BundleError, match=r"cut\.safetensors is not a readable safetensors file"):
        import_model(tmp_path / "cut.safetensors", output=models)
    torch.save(nn.Conv2d(1, 1, 1).state_dict(), tmp_path / "other.pt")  # for TorchScript to refuse
    with pytest.raises(InputError, match="a TorchScript file does not say how it is to be used"):
        import_model(tmp_path / "other.pt", output=models)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"patch": "15"}, "--patch 15: the sides of its slices are multiples of 2"),
        ({"patch": "16,16,8"}, "slices are square"),
        ({"normalization": "zscore"}, "UniverSeg takes 0..1: choose unit, or ct:LOW,HIGH"),
        ({"plane": "axial"}, "name their folder with --examples"),
        ({"plane": "oblique", "labels": "liver"}, "--plane 'oblique': choose sagittal, coronal, axial"),
        ({"labels": "liver", "slices": 3}, "name their folder with --examples"),
        ({"labels": "liver", "examples": Path()}, "with --examples their labels say what it is called"),
        ({"channels": "T1"}, "has no option --channels"),
    ],
)
def test_options_without_sense_are_refused(options, said, weights, models):
    with pytest.raises(InputError, match=said):
        import_model(weights, output=models, **options)


def test_a_folder_without_configuration_is_refused(models, tmp_path):
    with pytest.raises(InputError, match="nothing that can be imported"):
        import_model(tmp_path, output=models, examples=tmp_path)


def test_without_examples_it_says_what_is_missing(universeg, coarse):
    with pytest.raises(BundleError, match="tiny was shown nothing yet: show it slices with --examples FOLDER"):
        Predictor(universeg).predict(coarse / "images" / "case_0.nii.gz")


def test_what_is_yet_to_be_drawn_has_names_and_ids_and_the_same_weights(universeg, models):
    bundle = import_model(universeg.folder, output=models, labels="liver,spleen", plane="coronal")
    assert bundle.name == "universeg_tiny_liver"
    assert [(label.id, label.name) for label in bundle.labels] == [(1, "liver"), (2, "spleen")]
    assert bundle.checksum == universeg.checksum
    assert (universeg.examples, bundle.examples, bundle.config["plane"]) == (0, 0, "coronal")
    assert bundle.uncertainty.origin == universeg.uncertainty.origin
    with pytest.raises(BundleError, match="was shown nothing yet"):
        bundle.network()


def test_slices_of_labelled_cases_are_shown_under_the_models_own_ids(universeg, coarse, models, tmp_path):
    bundle = import_model(universeg.folder, output=models, labels="organ,lesion")
    cases = [replace(case, own_ids=True) for case in read_cases(coarse)]
    shown_some = show_cases(bundle, cases, tmp_path, first="case_1")
    assert shown_some.labels == bundle.labels
    by_folder = import_model(universeg.folder, output=models, name="by_folder", examples=coarse)
    assert shown_some.checksum == by_folder.checksum  # there were fewer slices than are shown
    prediction = Predictor(shown_some).predict(cases[0].image)
    told = prediction.provenance.examples
    assert [(one.case, one.axis, one.index) for one in told[:2]] == [("case_0", 2, 2), ("case_0", 2, 3)]
    assert {one.label for one in told if one.case == "case_2"} == {sha256(cases[2].label.read_bytes()).hexdigest()}
    assert of_same_patient(shown_some, cases[0].image, None) == {"case_0"}
    assert of_same_patient(shown_some, cases[0].image, "case_2") == {"case_0", "case_2"}


def test_a_model_of_examples_says_what_the_network_says_slice_by_slice(universeg, network, coarse, models):
    bundle = import_model(universeg.folder, output=models, name="organs", examples=coarse, slices=4)
    origin = bundle.uncertainty.origin
    assert [case for case, _ in origin["slices"]] == ["case_0", "case_0", "case_1", "case_2"]
    assert origin["examples"] == ["case_0", "case_1", "case_2"]
    assert [label.name for label in bundle.labels] == ["structure 1", "structure 2"]
    scan = models / "scan.nii.gz"  # on a grid of the network's own
    write_volume(scan, np.random.default_rng(0).random((16, 16, 8), np.float32), np.diag([6.0, 6.0, 12.0, 1.0]))
    prediction = Predictor(bundle).predict(scan)
    backbone, volume = bundle.network().backbone, bundle.preprocessing()({"image": scan})["image"].as_tensor()
    assert tuple(volume.shape) == (1, 16, 16, 8)
    logits = [
        torch.stack(
            [network(volume[None, ..., depth], backbone.images[None], shows.float()[None])[0, 0] for depth in range(8)],
            -1,
        )
        for shows in backbone.labels
    ]
    expected = torch.stack([torch.zeros_like(logits[0]), *logits]).softmax(0).detach().numpy()
    for number, label in enumerate(bundle.labels, start=1):
        np.testing.assert_allclose(prediction.maps[f"probability_{label.name}"], expected[number], atol=1e-4)
    assert (prediction.label == expected.argmax(0)).mean() > 0.999
    assert prediction.provenance.weights_checksum == bundle.checksum != universeg.checksum
    assert "examples" in [method.name for method in offered_methods(bundle)]
    other = Predictor(bundle, method="examples", options={"passes": 3}).predict(scan)
    assert other.maps["variance"].max() > 0
    again = import_model(bundle.folder, output=models, name="fewer", examples=coarse, slices=2)
    assert len(again.uncertainty.origin["slices"]) == 2


def test_a_model_of_images_takes_images_and_clips_and_one_of_volumes_volumes(universeg, coarse, tmp_path):
    flat.write_pictures(tmp_path / "shown", range(3))
    flat.write_clip(tmp_path / "clip", "film", range(5, 8))
    with shown(universeg, tmp_path / "shown") as bundle:
        assert bundle.flat
        predictor = Predictor(bundle)
        one = predictor.predict(tmp_path / "shown" / "images" / "case_1.png")
        film = predictor.predict(tmp_path / "clip" / "images" / "film")
        assert one.label.shape[2] == 1
        assert film.label.shape[2] == 3
        with pytest.raises(InputError, match=r"a volume .* and this model is 2D"):
            predictor.predict(coarse / "images" / "case_1.nii.gz")
    with shown(universeg, coarse, most=1) as bundle, pytest.raises(InputError, match="this model is 3D"):
        Predictor(bundle).predict(tmp_path / "shown" / "images" / "case_1.png")
    assert not bundle.folder.exists()


def test_a_case_whose_slices_were_shown_is_named_by_its_id_or_its_voxels(universeg, coarse, tmp_path):
    tiny.write_phantoms(tmp_path / "query", 1, 7, **tiny.COARSE)
    for kind in ("images", "labels"):
        renamed = tmp_path / "query" / kind / "somebody.nii.gz"
        renamed.write_bytes((coarse / kind / "case_1.nii.gz").read_bytes())
    with shown(universeg, coarse, most=3) as bundle:
        found = evaluate(Predictor(bundle), read_cases(tmp_path / "query"))
    assert {row["id"]: row["same_patient"] for row in found["cases"]} == {"case_7": False, "somebody": True}


def test_models_that_have_learnt_take_no_examples(tiny_bundle, coarse):
    refused = pytest.raises(InputError, match="tiny_deterministic has learnt what it knows and takes no examples")
    with refused, shown(tiny_bundle(), coarse):
        pass


def test_the_metadata_names_no_path(universeg, coarse, models):
    bundle = import_model(universeg.folder, output=models, name="organs", examples=coarse, slices=1)
    said = (bundle.folder / METADATA).read_text(encoding="utf-8")
    assert str(coarse) not in said
    assert json.loads(said)["description"] == f"UniverSeg, shown 1 slice of {coarse.name}."
